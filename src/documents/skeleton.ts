import type { TemplateFiles } from './template-files.ts'
import type { Value } from './template-helpers.ts'

/**
 * Thousands of claims a second cannot afford a YAML parser each: 0.2 ms for a page. So a template is rendered into a *skeleton*, in which a
 * mark stands for every scalar that a helper wrote, and the scalars are kept apart. The skeleton is the same for all devices of a profile
 * revision: it is parsed and checked once. Of each document, every scalar is read back on its own and compared.
 */
export type Skeleton = { text: string; values: Value[] }

const marks = /"\ue000(\d+)(?::(\d+))?\ue000"/g
const leafMark = /^\ue000(\d+)(?::\d+)?\ue000$/

/**
 * Whether each mark stands in the skeleton once and in order, and those of block scalars where one may stand: alone after a key or a dash, with
 * more columns than those, the line ended after them. A value that looks like a mark itself is found here.
 */
export function isSound({ text, values }: Skeleton): boolean {
  let next = 0
  for (const found of text.matchAll(marks)) {
    if (Number(found[1]) !== next++) return false
    if (found[2] !== undefined && !mayBeBlock(text, found, Number(found[2]))) return false
  }
  return next === values.length && text.split('\ue000').length - 1 === 2 * next
}

function mayBeBlock(text: string, found: RegExpExecArray, columns: number): boolean {
  const before = text.slice(text.lastIndexOf('\n', found.index) + 1, found.index)
  const parent = /^( *(?:- +)*)([A-Za-z0-9_-]+: +)?$/.exec(before)
  if (!parent || text[found.index + found[0].length] !== '\n') return false
  return columns >= (parent[1] as string).length + (parent[2] === undefined ? 0 : 1)
}

/** Whether a parsed skeleton has each mark as one whole leaf: only then replacing the marks cannot change the structure. */
export function marksAreLeaves(parsed: unknown, count: number): boolean {
  const seen = new Set<string>()
  for (const leaf of leaves(parsed)) {
    if (typeof leaf !== 'string' || !leaf.includes('\ue000')) continue
    const index = leafMark.exec(leaf)?.[1]
    if (index === undefined || seen.has(index)) return false
    seen.add(index)
  }
  return seen.size === count
}

/** A parsed skeleton with its values in place of the marks: what parsing the whole document would give. */
export function withValues(parsed: unknown, values: readonly Value[]): unknown {
  if (typeof parsed === 'string') {
    if (!parsed.startsWith('\ue000')) return parsed
    const index = leafMark.exec(parsed)?.[1]
    return index === undefined ? parsed : (values[Number(index)] as Value).value
  }
  if (Array.isArray(parsed)) return parsed.map((item) => withValues(item, values))
  if (parsed === null || typeof parsed !== 'object') return parsed
  const filled: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(parsed)) filled[key] = withValues(value, values)
  return filled
}

/**
 * The document: each mark replaced by its scalar, each scalar read back first.
 * @throws Error if a scalar does not say what it should; nothing of it is in the message
 */
export function fill({ text, values }: Skeleton, files: TemplateFiles): string {
  return text.replace(marks, (_, index, columns) => {
    const value = values[Number(index)] as Value
    if (!saysItself(value)) throw new Error(`the scalar ${index} of the document does not read back`)
    return columns === undefined ? value.text : files.expandIndented(value.text, Number(columns))
  })
}

function saysItself({ value, text, columns }: Value): boolean {
  if (text.startsWith('|')) {
    const lines = text.slice(1).replaceAll(`\n${' '.repeat(columns as number)}`, '\n')
    return `${lines.slice(1)}\n` === value
  }
  if (typeof value !== 'string') return JSON.stringify(JSON.parse(text)) === JSON.stringify(value)
  return text.includes('\\') ? JSON.parse(text) === value : text.slice(1, -1) === value && !value.includes('"')
}

function* leaves(value: unknown): Generator<unknown> {
  if (value === null || typeof value !== 'object') {
    yield value
    return
  }
  for (const [key, inner] of Object.entries(value)) {
    // A mark in a key would not be found by withValues: twice the key makes it no leaf.
    if (!Array.isArray(value)) yield `${key}${key}`
    yield* leaves(inner)
  }
}
