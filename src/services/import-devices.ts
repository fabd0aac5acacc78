import { AppError } from '../errors.ts'
import { identityFromInput } from '../identity/public-key.ts'
import { normaliseMac } from '../roll/device-input.ts'
import { csvReader, type ImportLine, type ImportReader, ndjsonReader, type Refusal } from '../roll/import-format.ts'
import { recordAudit } from '../store/audit.ts'
import type { Drizzle } from '../store/database.ts'
import { openStage, type StagedLine, stageLines, takeRepeats } from '../store/import.ts'
import type { Actor } from './actor.ts'
import { applyImport } from './apply-import.ts'
import type { Context } from './context.ts'
import { toPin } from './register-device.ts'
import { sqlState } from './row-error.ts'

export type ImportRequest = {
  format: 'csv' | 'ndjson'
  body: AsyncIterable<Uint8Array>
  dryRun: boolean
  partial: boolean
  /** Whether the actor may lower an assurance. */
  mayLower: boolean
}

/** Counts of devices, and the lines that were not taken: at most `shown` of them. */
export type ImportResult = {
  created: number
  updated: number
  unchanged: number
  refused: { line: number; serial?: string; reason: string }[]
  refused_total: number
}

/** Lines that are refused one by one; a file with more is broken as a whole. */
const shown = 10_000

/** Characters of records that are staged at once. Longer texts would be long-lived to V8, and an import's memory three times as much. */
const stageSize = 131_072

/** Bytes that are read at once: what one piece holds is gone before V8 takes it for long-lived, so memory stays flat. */
const piece = 8_192

class Undone extends Error {}

/**
 * Brings a file of devices onto the roll, all in one transaction; its memory does not grow with the file.
 * @returns what was done, or with `dryRun` what would be; without `partial` a refused line refuses all
 * @throws AppError `invalid` for a bad header and, unless `partial` or `dryRun`, for refused lines; `busy` while another import runs
 *   or when the roll changed meanwhile
 */
export async function importDevices(context: Context, actor: Actor, request: ImportRequest): Promise<ImportResult> {
  const found = new Findings()
  let result: ImportResult | undefined
  try {
    await context.db.transaction(async (tx) => {
      if (!(await openStage(tx))) throw new AppError('busy', { detail: 'another import is running', retryAfter: 5 })
      await stageBody(tx, request, found)
      for (const { line, serial, first } of await takeRepeats(tx, 'serial_key')) {
        found.refuse({ line, serial, path: 'serial', reason: `stands in line ${first} already` })
      }
      for (const { line, serial, first } of await takeRepeats(tx, 'thumbprint')) {
        found.refuse({ line, serial, path: 'identity', reason: `the key stands in line ${first} already` })
      }
      const counts = await applyImport({ context, tx, actor, ...request }, (refusal) => found.refuse(refusal))
      result = { ...counts, ...found.result() }
      if (request.dryRun || (found.total > 0 && !request.partial)) throw new Undone()
      const { refused: _, ...summary } = result
      await recordAudit(tx, context.now(), actor, 'device.import', 'devices', summary)
    })
  } catch (error) {
    if (!(error instanceof Undone)) throw asRefusal(error)
  }
  if (found.total > 0 && !request.partial && !request.dryRun) throw found.error()
  return result as ImportResult
}

// What another admin did at the same time breaks a constraint here; sent again, the file is judged by what is there now.
function asRefusal(error: unknown): unknown {
  const state = sqlState(error)
  if (state !== '23505' && state !== '40P01' && state !== '40001') return error
  return new AppError('busy', {
    detail: 'the roll was changed meanwhile: send the file again',
    retryAfter: 1,
    cause: error,
  })
}

async function stageBody(tx: Drizzle, { format, body }: ImportRequest, found: Findings): Promise<void> {
  const reader = format === 'csv' ? csvReader() : ndjsonReader()
  const stage = new Stage(tx)
  for await (const chunk of chunks(body)) await stage.add(taken(reader, chunk, found))
  await stage.add(taken(reader, undefined, found))
  await stage.end()
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

function taken(reader: ImportReader, chunk: Uint8Array | undefined, found: Findings): string[] {
  const lines = chunk ? reader.push(chunk) : reader.end()
  return lines.flatMap((line) => {
    const staged = 'reason' in line ? line : toStaged(line)
    if (!('reason' in staged)) return [JSON.stringify(staged)]
    found.refuse(staged)
    return []
  })
}

function toStaged({ line, input }: Exclude<ImportLine, Refusal>): StagedLine | Refusal {
  const serial = input.serial.trim()
  try {
    const { identity, macs, uuid, ...rest } = input
    const pin = identity ? toPin(identityFromInput(identity)) : null
    const record = { ...rest, serial, macs: macs?.map(normaliseMac), uuid: uuid?.toLowerCase(), pin }
    return { line, serial_key: serial.toLowerCase(), thumbprint: pin?.thumbprint ?? null, record }
  } catch (error) {
    const [wrong] = error instanceof AppError ? (error.errors ?? []) : []
    if (!wrong) throw error
    return { line, serial, path: wrong.path, reason: wrong.reason }
  }
}

/** Hands lines to Postgres in pieces of about a megabyte; the next piece is read while it takes one. */
class Stage {
  readonly #tx: Drizzle
  #waiting: string[] = []
  #size = 0
  #under: Promise<void> = Promise.resolve()

  constructor(tx: Drizzle) {
    this.#tx = tx
  }

  /** @param lines each the JSON of a `StagedLine` */
  async add(lines: readonly string[]): Promise<void> {
    for (const line of lines) {
      this.#waiting.push(line)
      this.#size += line.length
    }
    if (this.#size < stageSize) return
    await this.#under
    this.#under = stageLines(this.#tx, this.#waiting)
    // Awaited before the next piece; a failure in between must not count as unhandled.
    this.#under.catch(() => {})
    this.#waiting = []
    this.#size = 0
  }

  async end(): Promise<void> {
    await this.#under
    if (this.#waiting.length > 0) await stageLines(this.#tx, this.#waiting)
  }
}

/** The refused lines: all counted, the first ones kept. */
class Findings {
  total = 0
  #kept: Refusal[] = []

  refuse(refusal: Refusal): void {
    this.total += 1
    if (this.#kept.length < shown) this.#kept.push(refusal)
  }

  result(): Pick<ImportResult, 'refused' | 'refused_total'> {
    const refused = this.#sorted().map(({ line, serial, path, reason }) => ({
      line,
      ...(serial === undefined ? {} : { serial }),
      reason: path ? `${path}: ${reason}` : reason,
    }))
    return { refused, refused_total: this.total }
  }

  error(): AppError {
    const detail = `nothing was written: ${this.total} ${this.total === 1 ? 'line was' : 'lines were'} refused`
    const errors = this.#sorted().map(({ line, path, reason }) => ({ path: path ?? '', line, reason }))
    return new AppError('invalid', { detail, errors })
  }

  #sorted(): Refusal[] {
    return this.#kept.sort((a, b) => a.line - b.line)
  }
}
