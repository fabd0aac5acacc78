import type { Value } from './template-helpers.ts'

/**
 * Rendering for thousands of claims a second cannot afford a YAML parser each time (0.2 ms for a page). So a template is rendered into a *skeleton*, in which a mark stands for every
 * scalar that a helper wrote, and the scalars are kept apart. A skeleton is the same for all devices of a profile revision, and is parsed and
 * checked once; of each document, every scalar is read back on its own and compared.
 */
export type Skeleton = { text: string; values: Value[] }

const marks = /"\ue000(\d+)\ue000"/g

/**
 * Whether each mark stands in the skeleton once and in order. If a template's own text or a value written bare looks like a mark, it does not, and
 * the document has to be parsed whole.
 */
export function isSound({ text, values }: Skeleton): boolean {
  let next = 0
  for (const [, index] of text.matchAll(marks)) if (Number(index) !== next++) return false
  return next === values.length
}

/**
 * The document: each mark replaced by its scalar, each scalar read back first.
 * @throws Error if a scalar does not say what it should; nothing of it is in the message
 */
export function fill({ text, values }: Skeleton): string {
  for (const [index, value] of values.entries()) {
    if (!saysItself(value)) throw new Error(`the scalar ${index} of the document does not read back`)
  }
  return text.replace(marks, (_, index) => (values[Number(index)] as Value).text)
}

/**
 * Whether block scalars may stand where their marks stand: alone after a key or a dash, indented less than their lines, the line ended after them.
 */
export function marksStandWell({ text, values }: Skeleton): boolean {
  for (const found of text.matchAll(marks)) {
    const { style, text: scalar } = values[Number(found[1])] as Value
    const margin = style === 'block' ? /^\|\n( +)/.exec(scalar)?.[1] : undefined
    if (margin === undefined) continue
    const before = text.slice(text.lastIndexOf('\n', found.index) + 1, found.index)
    const parent = /^( *(?:- +)*)([A-Za-z0-9_-]+: +)?$/.exec(before)
    if (!parent || text[found.index + found[0].length] !== '\n') return false
    if (margin.length < (parent[1] as string).length + (parent[2] === undefined ? 0 : 1)) return false
  }
  return true
}

/** Whether a parsed skeleton has each mark as one whole leaf: only then replacing the marks cannot change the structure. */
export function marksAreLeaves(parsed: unknown, count: number): boolean {
  const seen = new Set<string>()
  for (const leaf of leaves(parsed)) {
    if (typeof leaf !== 'string' || !leaf.includes('\ue000')) continue
    if (!/^\ue000\d+\ue000$/.test(leaf) || seen.has(leaf)) return false
    seen.add(leaf)
  }
  return seen.size === count
}

/** A parsed skeleton with its values in place of the marks: what parsing the whole document would give. */
export function withValues(parsed: unknown, values: readonly Value[]): unknown {
  if (typeof parsed === 'string') {
    const found = /^\ue000(\d+)\ue000$/.exec(parsed)
    return found ? (values[Number(found[1])] as Value).value : parsed
  }
  if (Array.isArray(parsed)) return parsed.map((item) => withValues(item, values))
  if (parsed === null || typeof parsed !== 'object') return parsed
  return Object.fromEntries(Object.entries(parsed).map(([key, value]) => [key, withValues(value, values)]))
}

function saysItself({ value, text, style }: Value): boolean {
  if (style === 'flow' || text.startsWith('"'))
    return typeof value === 'string'
      ? JSON.parse(text) === value
      : JSON.stringify(JSON.parse(text)) === JSON.stringify(value)
  const margin = /^\|\n( +)/.exec(text)?.[1]
  return margin !== undefined && `${text.slice(1).replaceAll(`\n${margin}`, '\n').slice(1)}\n` === value
}

function* leaves(value: unknown): Generator<unknown> {
  if (value === null || typeof value !== 'object') yield value
  else
    for (const [key, inner] of Object.entries(value)) {
      // A mark in a key would not be found by withValues: twice the key makes it no leaf.
      if (!Array.isArray(value)) yield `${key}${key}`
      yield* leaves(inner)
    }
}
