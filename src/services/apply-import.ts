import { isDeepStrictEqual } from 'node:util'
import { AppError } from '../errors.ts'
import { newId } from '../ids.ts'
import type { ImportInput } from '../roll/device-input.ts'
import { deriveAlternative, deriveHostname } from '../roll/hostname.ts'
import type { Refusal } from '../roll/import-format.ts'
import { type Columns, type Pin, type Places, type Plan, planLine } from '../roll/import-plan.ts'
import type { Drizzle } from '../store/database.ts'
import {
  type ImportEvent,
  insertDevices,
  type LineRow,
  nextLines,
  recordEvents,
  replaceKeys,
  takenHostnames,
  updateDevices,
} from '../store/import.ts'
import type { Actor } from './actor.ts'
import type { Context } from './context.ts'
import { importPlaces } from './import-places.ts'

export type ApplyInput = { context: Context; tx: Drizzle; actor: Actor; mayLower: boolean }

type Counts = { created: number; updated: number; unchanged: number }
type StagedRecord = ImportInput & { pin: Pin | null }
type Row = LineRow<StagedRecord>
type Change = Extract<Plan, { kind: 'create' | 'update' }> & { row: Row }

/** Lines, and characters of them, that are planned and written together. */
const batch = { lines: 2_000, size: 4_194_304 } as const

/**
 * Does what the staged lines say, in their order.
 * @returns how many devices were created, updated and left as they were
 * @throws AppError `busy` when another admin changed one of them meanwhile
 */
export async function applyImport(input: ApplyInput, refuse: (refusal: Refusal) => void): Promise<Counts> {
  const { tx, mayLower } = input
  const counts = { created: 0, updated: 0, unchanged: 0 }
  const places = importPlaces(tx)
  for (let after = 0; ; ) {
    const rows = await nextLines<StagedRecord>(tx, after, batch)
    after = rows.at(-1)?.line ?? 0
    if (rows.length === 0) break
    await places.learn(rows)
    const changes = sift(rows, places, mayLower, counts, refuse)
    const named = await nameAll(tx, changes, refuse)
    await writeAll(input, named)
    for (const { kind } of named) counts[kind === 'create' ? 'created' : 'updated'] += 1
  }
  await places.hold()
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

/** Gives each its hostname, in the order of the lines; who finds none is refused. */
async function nameAll(tx: Drizzle, changes: readonly Change[], refuse: (refusal: Refusal) => void): Promise<Change[]> {
  const wishes = changes.flatMap(({ next, rename }) =>
    rename && next.cluster_id
      ? candidates(next).map((hostname) => ({ cluster_id: next.cluster_id as string, hostname }))
      : [],
  )
  const taken = await takenHostnames(tx, wishes)
  return changes.flatMap((change) => {
    const { next, rename, row } = change
    if (!rename || next.cluster_id === null) return [change]
    const free = candidates(next).find((name) => !taken.has(`${next.cluster_id}/${name}`))
    if (free === undefined) {
      const reason = `another device of the cluster has ${candidates(next)[0]}, or had it`
      refuse({ line: row.line, serial: next.serial, path: 'hostname', reason })
      return []
    }
    taken.add(`${next.cluster_id}/${free}`)
    return [{ ...change, next: { ...next, hostname: free } }]
  })
}

function candidates({ hostname, serial }: Columns): string[] {
  return hostname === null ? [deriveHostname(serial), deriveAlternative(serial)] : [hostname]
}

async function writeAll({ context, tx, actor }: ApplyInput, changes: readonly Change[]): Promise<void> {
  const now = context.now()
  const created = changes.filter((change) => change.kind === 'create')
  const updated = changes.filter((change) => change.kind === 'update')
  for (const { next } of created) next.id = newId('dev', now, context.random(12))
  await insertDevices(
    tx,
    now,
    created.map(({ next }) => next),
  )
  const versioned = updated.map(({ next, row }) => ({ ...next, version: row.device?.version ?? 0 }))
  const done = await updateDevices(tx, now, versioned)
  if (done !== updated.length)
    throw new AppError('busy', { detail: 'the roll was changed meanwhile: send the file again' })
  const keys = changes.flatMap(({ next, pin }) => (pin ? [{ device_id: next.id, ...pin }] : []))
  await replaceKeys(tx, now, keys)
  await recordEvents(
    tx,
    now,
    changes.map((change) => eventOf(change, actor)),
  )
}

function eventOf({ kind, next, pin, row }: Change, actor: Actor): ImportEvent {
  const how = { by: actor.name, import: true }
  if (kind === 'create') return { device_id: next.id, name: 'registered', detail: { ...how, hostname: next.hostname } }
  const old = row.device as Columns
  const names = Object.keys(next) as (keyof Columns)[]
  const changed = names
    .filter((name) => !isDeepStrictEqual(next[name], old[name]))
    .map((name) => name.replace(/_id$/, ''))
  return { device_id: next.id, name: 'changed', detail: { ...how, changed: pin ? [...changed, 'identity'] : changed } }
}
