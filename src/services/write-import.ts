import { AppError } from '../errors.ts'
import type { Drizzle } from '../store/database.ts'
import { announceGrowth, insertDevices, type Range, updateDevices } from '../store/import.ts'
import type { Actor } from './actor.ts'
import type { Context } from './context.ts'
import type { ImportPlaces } from './import-places.ts'
import type { ImportCounts } from './plan-import.ts'

export type WriteInput = { context: Context; tx: Drizzle; actor: Actor; places: ImportPlaces }

/** So many new devices change how Postgres should look for one. */
const manyDevices = 1_000

/** Lines that are written by one statement: what Postgres keeps of it, rows and checks to come, stays in its memory. */
const written = 10_000

/**
 * Writes what was planned.
 * @param last the last line of the file
 * @throws AppError `busy` when another admin changed one of the devices, profiles or clusters meanwhile
 */
export async function writeImport(input: WriteInput, counts: ImportCounts, last: number): Promise<void> {
  const { context, tx, actor, places } = input
  const now = context.now()
  const created = await inRanges(last, counts.created, (range) => insertDevices(tx, now, actor.name, range))
  const updated = await inRanges(last, counts.updated, (range) => updateDevices(tx, now, range))
  if (updated !== counts.updated) {
    throw new AppError('busy', { detail: 'the roll was changed meanwhile: send the file again', retryAfter: 1 })
  }
  if (created !== counts.created) throw new Error(`an import made ${created} devices of ${counts.created}`)
  await places.hold()
  if (created >= manyDevices) await announceGrowth(tx)
}

async function inRanges(last: number, expected: number, write: (range: Range) => Promise<number>): Promise<number> {
  let done = 0
  for (let after = 0; after < last && expected > 0; after += written) {
    done += await write({ after, last: after + written })
  }
  return done
}
