import { AppError } from '../errors.ts'
import { identityFromInput } from '../identity/public-key.ts'
import { numberedIds } from '../ids.ts'
import { type ImportInput, normaliseMac } from '../roll/device-input.ts'
import { deriveHostname } from '../roll/hostname.ts'
import { csvReader, type ImportLine, ndjsonReader, type Refusal } from '../roll/import-format.ts'
import type { Drizzle } from '../store/database.ts'
import { type StagedLine, type StagedPlace, stagedText, stageLines, stagePlaces } from '../store/import-stage.ts'
import type { Context } from './context.ts'
import type { Findings } from './import-findings.ts'

export type ImportBody = { format: 'csv' | 'ndjson'; body: AsyncIterable<Uint8Array> }

/** Characters of records that are staged at once. Longer texts would be long-lived to V8, and an import's memory three times as much. */
const stageSize = 131_072

/** Lines, and characters of them, that are planned together, and a little more. */
const batch = { lines: 500, size: 1_048_576 } as const

/** Places that are remembered: a file that names more of them gives some a second number. */
const manyPlaces = 1_000

/** Bytes that are read at once: what one piece holds is gone before V8 takes it for long-lived, so memory stays flat. */
const piece = 8_192

/** `staged`: lines that were taken; `last`: the last one of them. */
export type Read = { staged: number; last: number }

/**
 * Reads a file into the stage.
 * @param found told of each line that cannot be taken
 * @throws AppError `invalid` for a bad header, `request_invalid` for a body that breaks off
 */
export async function stageBody(
  tx: Drizzle,
  context: Context,
  { format, body }: ImportBody,
  found: Findings,
): Promise<Read> {
  const reader = format === 'csv' ? csvReader() : ndjsonReader()
  const stage = new Stage(tx, numberedIds('dev', context.now(), context.random(12)))
  for await (const chunk of chunks(body)) await stage.add(taken(reader.push(chunk), found))
  await stage.add(taken(reader.end(), found))
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

/** A line that was taken: its input, and its key if it gives one. */
type Taken = { line: number; input: ImportInput; key: GivenKey | undefined }
type GivenKey = ReturnType<typeof identityFromInput>

function taken(lines: readonly ImportLine[], found: Findings): Taken[] {
  const good: Taken[] = []
  for (const line of lines) {
    const outcome = 'reason' in line ? line : take(line)
    if ('reason' in outcome) found.refuse(outcome)
    else good.push(outcome)
  }
  return good
}

function take({ line, input }: Exclude<ImportLine, Refusal>): Taken | Refusal {
  try {
    return { line, input, key: input.identity && identityFromInput(input.identity) }
  } catch (error) {
    const [wrong] = error instanceof AppError ? (error.errors ?? []) : []
    if (!wrong) throw error
    return { line, serial: input.serial.trim(), path: wrong.path, reason: wrong.reason }
  }
}

/** Hands lines to Postgres; the next ones are read while it takes some. */
class Stage {
  readonly #tx: Drizzle
  readonly #idOf: (line: number) => string
  readonly #places = new PlaceNumbers()
  readonly #read: Read = { staged: 0, last: 0 }
  #waiting: string[] = []
  #size = 0
  #under: Promise<unknown> = Promise.resolve()
  #batch = { number: 0, lines: 0, size: 0 }

  constructor(tx: Drizzle, idOf: (line: number) => string) {
    this.#tx = tx
    this.#idOf = idOf
  }

  async add(lines: readonly Taken[]): Promise<void> {
    for (const taken of lines) {
      const text = stagedText(this.#staged(taken))
      this.#waiting.push(text)
      this.#count(taken.line, text.length)
    }
    if (this.#size < stageSize) return
    await this.#under
    this.#under = this.#send()
    // Awaited before the next piece; a failure in between must not count as unhandled.
    this.#under.catch(() => {})
  }

  async end(): Promise<Read> {
    await this.#under
    if (this.#waiting.length > 0) await this.#send()
    return this.#read
  }

  #staged({ line, input, key }: Taken): StagedLine {
    const serial = input.serial.trim()
    return {
      line,
      batch: this.#batch.number,
      place: this.#places.numberOf(input),
      id: this.#idOf(line),
      serial,
      serial_key: serial.toLowerCase(),
      thumbprint: key?.thumbprint,
      jwk: key?.jwk,
      hostname: input.hostname ?? deriveHostname(serial),
      hostname_given: input.hostname !== undefined,
      uuid: input.uuid?.toLowerCase(),
      note: input.note,
      labels: input.labels,
      vars: input.vars,
      macs: input.macs?.map(normaliseMac),
    }
  }

  #send(): Promise<unknown> {
    const lines = this.#waiting
    this.#waiting = []
    this.#size = 0
    return Promise.all([stagePlaces(this.#tx, this.#places.takeNew()), stageLines(this.#tx, lines)])
  }

  #count(line: number, size: number): void {
    this.#read.staged += 1
    this.#read.last = line
    this.#size += size
    const { number, lines, size: before } = this.#batch
    const isFull = lines + 1 >= batch.lines || before + size >= batch.size
    this.#batch = isFull ? { number: number + 1, lines: 0, size: 0 } : { number, lines: lines + 1, size: before + size }
  }
}

/** Gives places their numbers. */
class PlaceNumbers {
  readonly #known = new Map<string, number>()
  #new: StagedPlace[] = []
  #count = 0
  #last: StagedPlace = { id: 0 }

  numberOf({ profile, cluster, role, min_assurance }: Omit<StagedPlace, 'id'>): number {
    const last = this.#last
    if (
      last.id > 0 &&
      last.profile === profile &&
      last.cluster === cluster &&
      last.role === role &&
      last.min_assurance === min_assurance
    )
      return last.id
    // None of these words has a space in it.
    const words = `${profile ?? ''} ${cluster ?? ''} ${role ?? ''} ${min_assurance ?? ''}`
    const number = this.#known.get(words)
    const id = number ?? this.#count + 1
    this.#last = { id, profile, cluster, role, min_assurance }
    if (number !== undefined) return number
    if (this.#known.size >= manyPlaces) this.#known.clear()
    this.#count = id
    this.#known.set(words, id)
    this.#new.push(this.#last)
    return id
  }

  /** Those that were numbered since the last call. */
  takeNew(): StagedPlace[] {
    const places = this.#new
    this.#new = []
    return places
  }
}
