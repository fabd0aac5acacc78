import type { MiddlewareHandler } from 'hono'
import { AppError } from '../../errors.ts'
import { readBody } from '../body.ts'

/** Bytes of a JSON body. PROTOCOL.md, "Admin API". */
export const largest = 1_048_576
/** Arrays and objects within each other; the schemas recurse, so an endless nest would end the stack. */
const deepest = 64

const json = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i

/** Reads the body for everything that comes after: 413 before more than `largest` bytes are held, 400 if it breaks off or takes too long. */
export const limitBody: MiddlewareHandler = async (c, next) => {
  const tooLarge = { code: 'body_too_large', detail: `at most ${largest} bytes` } as const
  const { buffer } = await readBody(c, largest, tooLarge)
  // Hono keeps promises there, whatever its types say.
  c.req.bodyCache.arrayBuffer = Promise.resolve(buffer) as never
  await next()
}

/** For routes with a JSON body: 415, then 400, then 422 for text that cannot be stored. */
export const readJson: MiddlewareHandler = async (c, next) => {
  if (!json.test(c.req.header('content-type') ?? '')) {
    throw new AppError('media_type', { detail: 'the body must be application/json' })
  }
  let body: unknown
  try {
    body = await c.req.json()
  } catch (cause) {
    throw new AppError('request_invalid', { detail: 'the body is not JSON', cause })
  }
  refuseUnstorable(body)
  await next()
}

/** For a body that may be left out: without one it is an empty object, whatever its type was said to be. */
export const readOptionalJson: MiddlewareHandler = async (c, next) => {
  if ((await c.req.arrayBuffer()).byteLength > 0) return readJson(c, next)
  c.req.bodyCache = { arrayBuffer: Promise.resolve(new TextEncoder().encode('{}').buffer) as never }
  // zod-openapi refuses a body without a type, and `curl -d ''` names a form's.
  c.req.raw.headers.set('content-type', 'application/json')
  await next()
}

/** @throws AppError `invalid` for NUL or half a character anywhere (Postgres and YAML cannot hold them), or too deep a nest */
export function refuseUnstorable(body: unknown): void {
  const waiting: { value: unknown; path: string; depth: number }[] = [{ value: body, path: '', depth: 0 }]
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { value, path, depth } = next
    if (typeof value === 'string' && !storable(value)) refuse(path, 'text may not hold NUL or half a surrogate pair')
    if (typeof value !== 'object' || value === null) continue
    if (depth >= deepest) refuse(path.slice(0, 80), `nested deeper than ${deepest}`)
    for (const [key, inner] of Object.entries(value)) {
      if (!storable(key)) refuse(path, 'a name may not hold NUL or half a surrogate pair')
      waiting.push({ value: inner, path: path ? `${path}.${key}` : key, depth: depth + 1 })
    }
  }
}

const unstorable = /\0|\p{Surrogate}/u
const storable = (text: string) => !unstorable.test(text)

function refuse(path: string, reason: string): never {
  throw new AppError('invalid', { errors: [{ path, reason }] })
}
