import type { Context } from 'hono'
import { AppError, type Code } from '../../errors.ts'

/**
 * Reads a body of at most `limit` bytes; more than that is never kept in memory.
 * @throws AppError `tooLarge` past the limit, also when Content-Length only announces it
 */
export async function readBody(c: Context, limit: number, tooLarge: Code): Promise<Uint8Array> {
  const announced = c.req.header('content-length')
  if (announced !== undefined) {
    if (Number(announced) > limit) throw new AppError(tooLarge)
    return new Uint8Array(await c.req.arrayBuffer())
  }
  return readChunks(c.req.raw.body, limit, tooLarge)
}

async function readChunks(stream: ReadableStream<Uint8Array> | null, limit: number, tooLarge: Code) {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of stream ?? []) {
    size += chunk.byteLength
    if (size > limit) throw new AppError(tooLarge)
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks, size))
}

/** The media type of a request, without parameters, in lower case. */
export function mediaType(c: Context): string {
  const type = c.req.header('content-type') ?? ''
  return (type.split(';')[0] as string).trim().toLowerCase()
}
