import type { Context } from 'hono'
import { AppError, type Code } from '../errors.ts'

/** Milliseconds that a body may take. Everything but an import is small, and whoever sends it slower only holds a socket. */
export const bodyPatience = 20_000

type Refusal = { code: Code; detail?: string }

/**
 * Reads a body of at most `limit` bytes; more than that is never kept in memory.
 * @throws AppError `tooLarge` past the limit, also when Content-Length only announces it; `request_invalid` for a body that breaks off
 *   or takes longer than 20 s, which ends the connection as well
 */
export async function readBody(c: Context, limit: number, tooLarge: Refusal): Promise<Uint8Array<ArrayBuffer>> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, refuse) => {
    timer = setTimeout(() => {
      c.header('Connection', 'close')
      refuse(new AppError('request_invalid', { detail: 'the body took too long' }))
    }, bodyPatience)
  })
  try {
    return await Promise.race([readWhole(c, limit, tooLarge), late])
  } catch (error) {
    if (error instanceof AppError) throw error
    throw new AppError('request_invalid', { detail: 'the body ended too early', cause: error })
  } finally {
    clearTimeout(timer)
  }
}

async function readWhole(c: Context, limit: number, tooLarge: Refusal) {
  const announced = c.req.header('content-length')
  if (announced === undefined) return readChunks(c.req.raw.body, limit, tooLarge)
  if (Number(announced) > limit) throw new AppError(tooLarge.code, tooLarge)
  return new Uint8Array(await c.req.arrayBuffer())
}

async function readChunks(stream: ReadableStream<Uint8Array> | null, limit: number, tooLarge: Refusal) {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of stream ?? []) {
    size += chunk.byteLength
    if (size > limit) throw new AppError(tooLarge.code, tooLarge)
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks, size))
}

/** The media type of a request, without parameters, in lower case. */
export function mediaType(c: Context): string {
  const type = c.req.header('content-type') ?? ''
  return (type.split(';')[0] as string).trim().toLowerCase()
}
