import { isDeepStrictEqual } from 'node:util'
import { AppError } from '../errors.ts'
import { newId } from '../ids.ts'
import type { ImportInput } from '../roll/device-input.ts'
import type { Refusal } from '../roll/import-format.ts'
import { type Columns, type Pin, type Places, type Plan, planLine } from '../roll/import-plan.ts'
import type { Drizzle } from '../store/database.ts'
import {
  announceGrowth,
  insertDevices,
  type LineRow,
  nextLines,
  planForMany,
  recordChanges,
  replaceKeys,
  updateDevices,
} from '../store/import.ts'
import type { Actor } from './actor.ts'
import type { Context } from './context.ts'
import { importPlaces } from './import-places.ts'
import { nameImport } from './name-import.ts'

export type ApplyInput = { context: Context; tx: Drizzle; actor: Actor; mayLower: boolean; dryRun: boolean }
type Writer = ApplyInput & { nextId: () => string }

type Counts = { created: number; updated: number; unchanged: number }
type StagedRecord = ImportInput & { pin: Pin | null }
type Row = LineRow<StagedRecord>
type Change = Extract<Plan, { kind: 'create' | 'update' }> & { row: Row }

/** Lines, and characters of them, that are planned and written together. */
const batch = { lines: 1_000, size: 1_048_576 } as const

/** So many new devices change how Postgres should look for one. */
const manyDevices = 1_000

/**
 * Does what the staged lines say, in their order.
 * @returns how many devices were created, updated and left as they were
 * @throws AppError `busy` when another admin changed one of them meanwhile
 */
export async function applyImport(input: ApplyInput, refuse: (refusal: Refusal) => void): Promise<Counts> {
  const { tx, mayLower } = input
  const counts = { created: 0, updated: 0, unchanged: 0 }
  const places = importPlaces(tx)
  const writer = { ...input, nextId: idsInOrder(input.context.now(), input.context.random(8)) }
  await planForMany(tx)
  const read = (after: number) => nextLines<StagedRecord>(tx, after, batch)
  let rows = await read(0)
  let writing: Promise<void> = Promise.resolve()
  while (rows.length > 0) {
    await places.learn(rows)
    const named = await nameAll(tx, sift(rows, places, mayLower, counts, refuse), refuse)
    for (const { kind } of named) counts[kind === 'create' ? 'created' : 'updated'] += 1
    await writing
    // Asked for before the write, so that the next lines are judged while Postgres is busy with these.
    const ahead = read(rows.at(-1)?.line ?? 0)
    writing = writeAll(writer, named)
    writing.catch(() => {})
    rows = await ahead
  }
  await writing
  await places.hold()
  if (counts.created >= manyDevices && !input.dryRun) await announceGrowth(tx)
  return counts
}

function sift(
  rows: readonly Row[],
  places: Places,
  mayLower: boolean,
  counts: Counts,
  refuse: (refusal: Refusal) => void,
): Change[] {
  return rows.flatMap((row) => {
    const { pin, ...input } = row.record
    const plan = planLine({ input, pin, known: row, places, mayLower })
    if (plan.kind === 'unchanged') counts.unchanged += 1
    if (plan.kind === 'refused') refuse({ line: row.line, serial: input.serial, ...reasonOf(plan) })
    return plan.kind === 'create' || plan.kind === 'update' ? [{ ...plan, row }] : []
  })
}

const reasonOf = ({ path, reason }: { path?: string; reason: string }) => ({ reason, ...(path ? { path } : {}) })

/** Gives each its hostname; who finds none is refused. */
async function nameAll(
  tx: Drizzle,
  changes: readonly Change[],
  refuse: (refusal: Refusal) => void,
): Promise<readonly Change[]> {
  const lost = await nameImport(tx, changes)
  for (const [{ row, next }, name] of lost) {
    const reason = `another device of the cluster has ${name}, or had it`
    refuse({ line: row.line, serial: next.serial, path: 'hostname', reason })
  }
  return lost.size === 0 ? changes : changes.filter((change) => !lost.has(change))
}

async function writeAll(input: Writer, changes: readonly Change[]): Promise<void> {
  await create(
    input,
    changes.filter(({ kind }) => kind === 'create'),
  )
  await update(
    input,
    changes.filter(({ kind }) => kind === 'update'),
  )
}

async function create({ context, tx, actor, nextId }: Writer, changes: readonly Change[]): Promise<void> {
  const now = context.now()
  const rows = changes.map(({ next, row }) => ({
    line: row.line,
    id: nextId(),
    profile_id: next.profile_id,
    cluster_id: next.cluster_id,
    hostname: next.hostname,
  }))
  await insertDevices(tx, now, actor.name, rows)
}

// Ids that grow with the lines: the roll lists a file in its own order, and four indexes of 100,000 rows grow at one end.
function idsInOrder(now: number, random: Uint8Array): () => string {
  const bytes = Buffer.concat([random, Buffer.alloc(4)])
  let count = 0
  return () => {
    bytes.writeUInt32BE(count++, 8)
    return newId('dev', now, bytes)
  }
}

async function update({ context, tx, actor }: ApplyInput, changes: readonly Change[]): Promise<void> {
  const now = context.now()
  const rows = changes.map(({ next, row }) => ({ ...next, version: row.device?.version ?? 0 }))
  if ((await updateDevices(tx, now, rows)) !== changes.length) {
    throw new AppError('busy', { detail: 'the roll was changed meanwhile: send the file again', retryAfter: 1 })
  }
  const keys = changes.flatMap(({ next, pin }) => (pin ? [{ device_id: next.id, ...pin }] : []))
  await replaceKeys(tx, now, keys)
  const told = changes.map((change) => ({
    device_id: change.next.id,
    detail: { by: actor.name, import: true, changed: changedMembers(change) },
  }))
  await recordChanges(tx, now, told)
}

/** By their JSON names; no values, since a variable may hold what its admin would not like to read in a log. */
function changedMembers({ next, pin, row }: Change): string[] {
  const old = row.device as Columns
  const names = Object.keys(next) as (keyof Columns)[]
  const changed = names
    .filter((name) => !isDeepStrictEqual(next[name], old[name]))
    .map((name) => name.replace(/_id$/, ''))
  return pin ? [...changed, 'identity'] : changed
}
