import { createHash } from 'node:crypto'
import { z } from 'zod'
import { AppError } from '../errors.ts'

/**
 * What a cluster's backup is: a line of JSON, the rows of its table as COPY's text format has them, one a line, and a line of JSON that says
 * how many they are and what they hash to. All of it gzipped. Rows begin with a number, so neither JSON line is one.
 */
export const BackupHeader = z.object({
  rollcall: z.literal('cluster backup'),
  format: z.literal(1),
  cluster: z.string(),
  /** K3s' */
  version: z.string(),
  ca_hash: z.string().nullable(),
  /** Without it K3s cannot open its own bootstrap row */
  server_token: z.string().regex(/^[0-9a-f]{64}$/),
  /** Unix seconds */
  taken_at: z.number(),
})
export type BackupHeader = z.output<typeof BackupHeader>

const Trailer = z.object({ rows: z.number(), sha256: z.string() })

/** Bytes of the longest row that is believed: etcd's own limit for a value is 1.5 MB, kept twice, in hex. */
const longest = 16 * 1024 * 1024

const bad = (detail: string) => new AppError('invalid', { detail })

/** Header, rows and trailer, in the order in which they are written. */
export async function* writeBackup(header: BackupHeader, rows: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield jsonLine(header)
  const seen = counter()
  for await (const chunk of rows) {
    seen.take(chunk)
    yield chunk
  }
  yield jsonLine(seen.result())
}

/**
 * Reads a backup.
 * @param text gunzipped
 * @returns its header, and its rows, whose last part comes only after the trailer was found to be right
 * @throws AppError `invalid` if it is none, or not all of one; also from the rows
 */
export async function readBackup(
  text: AsyncIterable<Buffer>,
): Promise<{ header: BackupHeader; rows: AsyncGenerator<Buffer> }> {
  const source = text[Symbol.asyncIterator]()
  let rest = Buffer.alloc(0)
  while (!rest.includes(newline)) {
    const next = await source.next()
    if (next.done || rest.length > longest) throw bad('this is no backup of a cluster')
    rest = Buffer.concat([rest, next.value])
  }
  const end = rest.indexOf(newline)
  const header = parsed(BackupHeader, rest.subarray(0, end))
  if (!header) throw bad('this is no backup of a cluster, or one of a later release')
  return { header, rows: readRows(rest.subarray(end + 1), source) }
}

async function* readRows(first: Buffer, source: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  const seen = counter()
  // Everything but the last whole line, which may be the trailer.
  let kept = first
  for (let next = await source.next(); !next.done; next = await source.next()) {
    kept = Buffer.concat([kept, next.value])
    const start = kept.lastIndexOf(newline, kept.lastIndexOf(newline) - 1) + 1
    if (start > 0) {
      const ready = kept.subarray(0, start)
      kept = kept.subarray(start)
      seen.take(ready)
      yield ready
    }
    if (kept.length > longest) throw bad('the backup is damaged: a row has no end')
  }
  const start = kept.lastIndexOf(newline, kept.length - 2) + 1
  const last = kept.subarray(0, start)
  seen.take(last)
  const trailer = parsed(Trailer, kept.subarray(start))
  const { rows, sha256 } = seen.result()
  if (!trailer) throw bad('the backup is cut off')
  if (trailer.rows !== rows || trailer.sha256 !== sha256) throw bad('the backup is damaged')
  if (last.length > 0) yield last
}

const newline = 0x0a
const jsonLine = (value: unknown) => Buffer.from(`${JSON.stringify(value)}\n`)

function counter() {
  const hash = createHash('sha256')
  let rows = 0
  return {
    take: (chunk: Buffer) => {
      hash.update(chunk)
      for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, at + 1)) rows++
    },
    result: () => ({ rows, sha256: hash.digest('hex') }),
  }
}

function parsed<S extends z.ZodType>(schema: S, line: Buffer): z.output<S> | undefined {
  try {
    return schema.parse(JSON.parse(line.toString()))
  } catch {
    return undefined
  }
}
