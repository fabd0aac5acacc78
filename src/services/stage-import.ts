import { AppError } from '../errors.ts'
import { identityFromInput } from '../identity/public-key.ts'
import { normaliseMac } from '../roll/device-input.ts'
import { csvReader, type ImportLine, type ImportReader, ndjsonReader, type Refusal } from '../roll/import-format.ts'
import type { Drizzle } from '../store/database.ts'
import { type StagedLine, stageLines } from '../store/import-stage.ts'

export type ImportBody = { format: 'csv' | 'ndjson'; body: AsyncIterable<Uint8Array> }

/** Characters of records that are staged at once. Longer texts would be long-lived to V8, and an import's memory three times as much. */
const stageSize = 131_072

/** Lines, and characters of them, that are planned and written together. */
const batch = { lines: 500, size: 1_048_576 } as const

/** Bytes that are read at once: what one piece holds is gone before V8 takes it for long-lived, so memory stays flat. */
const piece = 8_192

/**
 * Reads a file into the stage.
 * @param refuse told of each line that cannot be taken
 * @returns the last line of each batch that is to be applied together
 * @throws AppError `invalid` for a bad header, `request_invalid` for a body that breaks off
 */
export async function stageBody(
  tx: Drizzle,
  { format, body }: ImportBody,
  refuse: (refusal: Refusal) => void,
): Promise<number[]> {
  const reader = format === 'csv' ? csvReader() : ndjsonReader()
  const stage = new Stage(tx)
  for await (const chunk of chunks(body)) await stage.add(taken(reader, chunk, refuse))
  await stage.add(taken(reader, undefined, refuse))
  return stage.end()
}

async function* chunks(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of body) {
      for (let at = 0; at < chunk.length; at += piece) yield chunk.subarray(at, at + piece)
    }
  } catch (error) {
    throw new AppError('request_invalid', { detail: 'the body ended too early', cause: error })
  }
}

function taken(reader: ImportReader, chunk: Uint8Array | undefined, refuse: (refusal: Refusal) => void): StagedLine[] {
  const lines = chunk ? reader.push(chunk) : reader.end()
  const good: StagedLine[] = []
  for (const line of lines) {
    const staged = 'reason' in line ? line : toStaged(line)
    if ('reason' in staged) refuse(staged)
    else good.push(staged)
  }
  return good
}

function toStaged({ line, input }: Exclude<ImportLine, Refusal>): StagedLine | Refusal {
  const serial = input.serial.trim()
  try {
    const key = input.identity && identityFromInput(input.identity)
    const { profile, cluster, role, hostname, note, labels, vars, min_assurance } = input
    return {
      line,
      serial,
      serial_key: serial.toLowerCase(),
      thumbprint: key?.thumbprint,
      jwk: key?.jwk,
      profile,
      cluster,
      role,
      hostname,
      uuid: input.uuid?.toLowerCase(),
      note,
      labels,
      vars,
      macs: input.macs?.map(normaliseMac),
      min_assurance,
    }
  } catch (error) {
    const [wrong] = error instanceof AppError ? (error.errors ?? []) : []
    if (!wrong) throw error
    return { line, serial, path: wrong.path, reason: wrong.reason }
  }
}

/** Hands lines to Postgres; the next ones are read while it takes some. */
class Stage {
  readonly #tx: Drizzle
  #waiting: string[] = []
  #size = 0
  #under: Promise<void> = Promise.resolve()
  readonly #ends: number[] = []
  #batch = { lines: 0, size: 0, last: 0 }

  constructor(tx: Drizzle) {
    this.#tx = tx
  }

  async add(lines: readonly StagedLine[]): Promise<void> {
    for (const staged of lines) {
      const text = JSON.stringify(staged)
      this.#waiting.push(text)
      this.#size += text.length
      this.#count(staged.line, text.length)
    }
    if (this.#size < stageSize) return
    await this.#under
    this.#under = stageLines(this.#tx, this.#waiting)
    // Awaited before the next piece; a failure in between must not count as unhandled.
    this.#under.catch(() => {})
    this.#waiting = []
    this.#size = 0
  }

  async end(): Promise<number[]> {
    await this.#under
    if (this.#waiting.length > 0) await stageLines(this.#tx, this.#waiting)
    if (this.#batch.lines > 0) this.#ends.push(this.#batch.last)
    return this.#ends
  }

  #count(line: number, size: number): void {
    const { lines, size: before } = this.#batch
    this.#batch = { lines: lines + 1, size: before + size, last: line }
    if (lines + 1 < batch.lines && before + size < batch.size) return
    this.#ends.push(line)
    this.#batch = { lines: 0, size: 0, last: line }
  }
}
