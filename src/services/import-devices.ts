import { AppError } from '../errors.ts'
import type { Refusal } from '../roll/import-format.ts'
import { recordAudit } from '../store/audit.ts'
import { openStage, takeRepeats } from '../store/import-stage.ts'
import type { Actor } from './actor.ts'
import { applyImport } from './apply-import.ts'
import type { Context } from './context.ts'
import { sqlState } from './row-error.ts'
import { type ImportBody, stageBody } from './stage-import.ts'

export type ImportRequest = ImportBody & {
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

class Undone extends Error {}

/**
 * Brings a file of devices onto the roll, all in one transaction; its memory does not grow with the file.
 * @returns what was done, or with `dryRun` what would be; without `partial` a refused line refuses all
 * @throws AppError `invalid` for a bad header and, unless `partial` or `dryRun`, for refused lines; `busy` while another import runs
 *   or when the roll changed meanwhile
 */
export async function importDevices(context: Context, actor: Actor, request: ImportRequest): Promise<ImportResult> {
  const found = new Findings()
  const refuse = (refusal: Refusal) => found.refuse(refusal)
  let result: ImportResult | undefined
  try {
    await context.db.transaction(async (tx) => {
      if (!(await openStage(tx))) throw new AppError('busy', { detail: 'another import is running', retryAfter: 5 })
      const ends = await stageBody(tx, request, refuse)
      for (const { line, serial, first } of await takeRepeats(tx, 'serial_key')) {
        refuse({ line, serial, path: 'serial', reason: `stands in line ${first} already` })
      }
      for (const { line, serial, first } of await takeRepeats(tx, 'thumbprint')) {
        refuse({ line, serial, path: 'identity', reason: `the key stands in line ${first} already` })
      }
      const counts = await applyImport({ context, tx, actor, ...request }, ends, refuse)
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
