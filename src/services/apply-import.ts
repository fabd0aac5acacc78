import { isDeepStrictEqual } from 'node:util'
import { AppError } from '../errors.ts'
import { newId } from '../ids.ts'
import type { ImportInput } from '../roll/device-input.ts'
import type { Refusal } from '../roll/import-format.ts'
import { type Columns, type Places, type Plan, planLine } from '../roll/import-plan.ts'
import type { Drizzle } from '../store/database.ts'
import {
  announceGrowth,
  type Hostname,
  insertDevices,
  keepHostnames,
  planForMany,
  recordChanges,
  replaceKeys,
  updateDevices,
} from '../store/import.ts'
import { type LineRow, nextLines } from '../store/import-stage.ts'
import type { Actor } from './actor.ts'
import type { Context } from './context.ts'
import { importPlaces } from './import-places.ts'
import { nameImport } from './name-import.ts'

export type ApplyInput = { context: Context; tx: Drizzle; actor: Actor; mayLower: boolean; dryRun: boolean }
type Writer = ApplyInput & { nextId: () => string }

type Counts = { created: number; updated: number; unchanged: number }
type Change = Extract<Plan, { kind: 'create' | 'update' }> & { row: LineRow }

/** So many new devices change how Postgres should look for one. */
const manyDevices = 1_000

/**
 * Does what the staged lines say, in their order; in a dry run it only finds out what that would be.
 * @param ends the last line of each batch
 * @returns how many devices were created, updated and left as they were
 * @throws AppError `busy` when another admin changed one of them meanwhile
 */
export async function applyImport(
  input: ApplyInput,
  ends: readonly number[],
  refuse: (refusal: Refusal) => void,
): Promise<Counts> {
  const { tx, mayLower } = input
  const counts = { created: 0, updated: 0, unchanged: 0 }
  const places = importPlaces(tx)
  const writer = { ...input, nextId: idsInOrder(input.context.now(), input.context.random(8)) }
  await planForMany(tx)
  const read = async (batch: number) => {
    const end = ends[batch]
    return end === undefined ? [] : nextLines(tx, ends[batch - 1] ?? 0, end)
  }
  let rows = await read(0)
  let writing: Promise<unknown> = Promise.resolve()
  for (let batch = 0; batch < ends.length; batch++) {
    await places.learn(rows)
    const naming = nameAll(tx, sift(rows, places, mayLower, counts, refuse), refuse)
    // Asked for now, so that Postgres has the next lines ready while these are prepared, and they are judged while it writes these.
    const ahead = read(batch + 1)
    ahead.catch(() => {})
    const named = await naming
    for (const { kind } of named) counts[kind === 'create' ? 'created' : 'updated'] += 1
    await writing
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
  rows: readonly LineRow[],
  places: Places,
  mayLower: boolean,
  counts: Counts,
  refuse: (refusal: Refusal) => void,
): Change[] {
  return rows.flatMap((row) => {
    const pin = row.pin === null ? null : { thumbprint: row.pin, jwk: row.rest?.jwk ?? null }
    const plan = planLine({ input: inputOf(row), pin, known: row, places, mayLower })
    if (plan.kind === 'unchanged') counts.unchanged += 1
    if (plan.kind === 'refused') refuse({ line: row.line, serial: row.serial, ...reasonOf(plan) })
    return plan.kind === 'create' || plan.kind === 'update' ? [{ ...plan, row }] : []
  })
}

const deciding = ['profile', 'cluster', 'role', 'hostname', 'min_assurance'] as const
const further = ['uuid', 'note', 'labels', 'vars', 'macs'] as const

/** What the line gives, again; of a new device only what decides over it. */
function inputOf(row: LineRow): ImportInput {
  const { rest } = row
  const input: Record<string, unknown> = { serial: row.serial }
  for (const name of deciding) if (row[name] !== null) input[name] = row[name]
  if (rest) for (const name of further) if (rest[name] !== null) input[name] = rest[name]
  return input as ImportInput
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

/** All statements are sent at once and in this order, so that the next batch's hostnames are looked for behind them. */
async function writeAll(input: Writer, changes: readonly Change[]): Promise<void> {
  const left = changes.flatMap((change) => leftName(change))
  if (input.dryRun) {
    await keepHostnames(input.tx, [...left, ...changes.flatMap(({ next }) => nameIn(next))])
    return
  }
  const made = changes.filter(({ kind }) => kind === 'create')
  const changed = changes.filter(({ kind }) => kind === 'update')
  await Promise.all([create(input, made), update(input, changed), keepHostnames(input.tx, left)])
}

// Kept until the import is over: whether a later line may have the name must not hang on where one batch ends and the next begins.
const leftName = ({ rename, row }: Change) => (rename && row.device ? nameIn(row.device) : [])

function nameIn({ cluster_id, hostname }: Pick<Columns, 'cluster_id' | 'hostname'>): Hostname[] {
  return cluster_id === null || hostname === null ? [] : [{ cluster_id, hostname }]
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
  const keys = changes.flatMap(({ next, pin }) => (pin ? [{ device_id: next.id, ...pin }] : []))
  const told = changes.map((change) => ({
    device_id: change.next.id,
    detail: { by: actor.name, import: true, changed: changedMembers(change) },
  }))
  const [done] = await Promise.all([
    updateDevices(tx, now, rows),
    replaceKeys(tx, now, keys),
    recordChanges(tx, now, told),
  ])
  if (done === changes.length) return
  throw new AppError('busy', { detail: 'the roll was changed meanwhile: send the file again', retryAfter: 1 })
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
