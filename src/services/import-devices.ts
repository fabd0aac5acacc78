import { AppError } from '../errors.ts'
import { recordAudit } from '../store/audit.ts'
import type { Drizzle } from '../store/database.ts'
import { openStage, takeRepeats } from '../store/import-stage.ts'
import type { Actor } from './actor.ts'
import type { Context } from './context.ts'
import { Findings, type RefusedLines, shownRefusals } from './import-findings.ts'
import { importPlaces } from './import-places.ts'
import { planImport } from './plan-import.ts'
import { sqlState } from './row-error.ts'
import { type ImportBody, stageBody } from './stage-import.ts'
import { writeImport } from './write-import.ts'

export type ImportRequest = ImportBody & {
  dryRun: boolean
  partial: boolean
  /** Whether the actor may lower an assurance. */
  mayLower: boolean
}

/** Counts of devices, and the lines that were not taken. */
export type ImportResult = { created: number; updated: number; unchanged: number } & RefusedLines

class Undone extends Error {}

/**
 * Brings a file of devices onto the roll, all in one transaction; its memory does not grow with the file. The file is read and judged
 * whole before the first device is written, so that none is held while a sender is slow.
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
      const read = await stageBody(tx, context, request, found)
      const repeats = await refuseRepeats(tx, found)
      const places = importPlaces(tx)
      const staged = read.staged - repeats
      const counts = await planImport({ tx, actor, places, mayLower: request.mayLower, staged }, found)
      result = { ...counts, ...found.result() }
      if (request.dryRun || (found.total > 0 && !request.partial)) throw new Undone()
      await writeImport({ context, tx, actor, places }, counts, read.last)
      const { refused: _, ...summary } = result
      await recordAudit(tx, context.now(), actor, 'device.import', 'devices', summary)
    })
  } catch (error) {
    if (!(error instanceof Undone)) throw asRefusal(error)
  }
  if (found.total > 0 && !request.partial && !request.dryRun) throw found.error()
  return result as ImportResult
}

async function refuseRepeats(tx: Drizzle, found: Findings): Promise<number> {
  const serials = await takeRepeats(tx, 'serial_key', shownRefusals)
  const ofSerial = serials.rows.map(({ line, serial, first }) => {
    return { line, serial, path: 'serial', reason: `stands in line ${first} already` }
  })
  found.refuseAll(ofSerial, serials.total)
  const keys = await takeRepeats(tx, 'thumbprint', shownRefusals)
  const ofKey = keys.rows.map(({ line, serial, first }) => {
    return { line, serial, path: 'identity', reason: `the key stands in line ${first} already` }
  })
  found.refuseAll(ofKey, keys.total)
  return serials.total + keys.total
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
