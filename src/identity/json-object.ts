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
export function parseJsonObject(bytes: Uint8Array): JsonObject | undefined {
  if (!isUtf8(bytes)) return undefined
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
  const value = parse(text)
  return isJsonObject(value) && !namesTwice(text) ? value : undefined
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}]/g

// Relies on valid JSON: there, a string before a colon is a member's name, and braces outside strings nest.
function namesTwice(json: string): boolean {
  const open: Set<string>[] = []
  for (const [token, colon] of json.matchAll(TOKENS)) {
    if (token === '{') open.push(new Set())
    else if (token === '}') open.pop()
    else if (colon !== undefined) {
      const quoted = token.slice(0, token.length - colon.length)
      const name = quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1)
      const names = open.at(-1)
      if (names?.has(name)) return true
      names?.add(name)
    }
  }
  return false
}
