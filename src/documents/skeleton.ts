import { type Marks, markOf, type Scalar } from './marks.ts'
import { everyMark } from './pattern.ts'

// Thousands of claims a second cannot afford a YAML parser each: 0.2 ms for a page. So a template is rendered into a *skeleton*, in which marks stand
// for whatever helpers wrote, kept apart (marks.ts). The skeleton is the same for all devices of a profile revision: it is parsed, checked and made
// into a pattern (pattern.ts) once. Of each document, every scalar is read back on its own.

const scalarMark = /^\ue000(\d+)\ue000$/
const otherMark = /[\ue001\ue002]/

/** Whether each mark stands in a text once, and those of a kind in order. A value that looks like a mark itself is found here. */
export function isSound(text: string, { scalars, texts }: Marks): boolean {
  const next = { scalar: 0, text: 0, all: 0 }
  for (const [, scalar, , , inner] of text.matchAll(everyMark)) {
    next.all++
    if (scalar !== undefined && Number(scalar) !== next.scalar++) return false
    if (inner !== undefined && Number(inner) !== next.text++) return false
  }
  const characters = (text.match(/[\ue000-\ue002]/g) ?? []).length
  return next.scalar === scalars.length && next.text === texts.length && characters === 2 * next.all
}

/**
 * Whether replacing the marks of a parsed skeleton cannot change its structure: each mark of a scalar is one whole leaf, and all others are in leaves
 * that say what a block scalar says.
 */
export function marksAreLeaves(parsed: unknown, { scalars, blocks }: Marks): boolean {
  const whole = new Set<string>()
  const inner = new Set<string>()
  for (const leaf of leaves(parsed)) {
    if (typeof leaf !== 'string') continue
    if (leaf.includes(markOf.scalar)) {
      const index = scalarMark.exec(leaf)?.[1]
      if (index === undefined || whole.has(index)) return false
      whole.add(index)
    } else if (otherMark.test(leaf)) {
      if (!blocks.includes(leaf)) return false
      inner.add(leaf)
    }
  }
  return whole.size === scalars.length && blocks.every((block) => inner.has(block) || !otherMark.test(block))
}

/** A parsed skeleton with its scalars in place of the marks: what parsing the whole document would give, but for the text of block scalars. */
export function withScalars(parsed: unknown, scalars: readonly Scalar[]): unknown {
  if (typeof parsed === 'string') {
    const index = parsed.startsWith(markOf.scalar) ? scalarMark.exec(parsed)?.[1] : undefined
    return index === undefined ? parsed : (scalars[Number(index)] as Scalar).value
  }
  if (Array.isArray(parsed)) return parsed.map((item) => withScalars(item, scalars))
  if (parsed === null || typeof parsed !== 'object') return parsed
  const filled: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(parsed)) filled[key] = withScalars(value, scalars)
  return filled
}

/** Whether a scalar says what it should when it is read back. */
export function saysItself({ value, text }: Scalar): boolean {
  if (typeof value !== 'string') return JSON.stringify(JSON.parse(text)) === JSON.stringify(value)
  return text.includes('\\') ? JSON.parse(text) === value : text.slice(1, -1) === value && !value.includes('"')
}

function* leaves(value: unknown): Generator<unknown> {
  if (value === null || typeof value !== 'object') {
    yield value
    return
  }
  for (const [key, inner] of Object.entries(value)) {
    // A mark in a key would not be found by withScalars: twice the key makes it no leaf.
    if (!Array.isArray(value)) yield `${key}${key}`
    yield* leaves(inner)
  }
}
