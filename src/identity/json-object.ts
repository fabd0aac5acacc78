import { isUtf8 } from 'node:buffer'

export type JsonObject = { readonly [member: string]: unknown }

/** Whether a parsed JSON value is an object: neither null nor an array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * One JSON object in UTF-8, without a byte order mark, no member named twice at any depth: parsers differ in which of two
 * they take, and a claim must mean one thing (RFC 7515 §4, RFC 8725 §2.4).
 * @returns undefined for anything else
 */
export function parseJsonObject(bytes: Buffer): JsonObject | undefined {
  if (!isUtf8(bytes)) return undefined
  const text = bytes.toString('utf8')
  const value = parse(text)
  // JSON.parse keeps the last of two: fewer members than were written means that one was written twice.
  return isJsonObject(value) && membersIn(value) === membersWritten(text) ? value : undefined
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

// No recursion: a claim has room for thousands of levels.
function membersIn(root: object): number {
  let count = 0
  const waiting = [root]
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const values: unknown[] = Object.values(next)
    if (!Array.isArray(next)) count += values.length
    for (const value of values) if (typeof value === 'object' && value !== null) waiting.push(value)
  }
  return count
}

const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a]

// In valid JSON each colon outside of a string is one member's. By character codes: this runs on what strangers send, and a
// regular expression took ten times as long.
function membersWritten(json: string): number {
  let count = 0
  let quoted = false
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at)
    if (code === QUOTE) quoted = !quoted
    else if (quoted && code === BACKSLASH) at++
    else if (!quoted && code === COLON) count++
  }
  return count
}
