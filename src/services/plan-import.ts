import { isDeepStrictEqual } from 'node:util'
import { AppError } from '../errors.ts'
import type { ImportInput } from '../roll/device-input.ts'
import { deriveHostname } from '../roll/hostname.ts'
import { type Columns, type Place, type Plan, planLine, planNew } from '../roll/import-plan.ts'
import type { Drizzle } from '../store/database.ts'
import { planForMany } from '../store/import.ts'
import {
  batchesOfKnown,
  type ChangedLine,
  findKnown,
  keepChanges,
  knownLines,
  type LineRow,
} from '../store/import-known.ts'
import { judgePlaces, misplacedLines, nextPlaces, type PlaceRow, type Verdict } from '../store/import-stage.ts'
import type { Actor } from './actor.ts'
import { type Findings, shownRefusals } from './import-findings.ts'
import type { ImportPlaces } from './import-places.ts'
import { nameImport } from './name-import.ts'

export type PlanInput = {
  tx: Drizzle
  actor: Actor
  places: ImportPlaces
  mayLower: boolean
  /** Lines in the stage */
  staged: number
}

/** How many devices are made, changed and left as they are. */
export type ImportCounts = { created: number; updated: number; unchanged: number }

/**
 * Judges all staged lines. Only those that say something new of what the roll knows are looked at one by one; what is new is judged by
 * its place, and stays where it is staged.
 */
export async function planImport(input: PlanInput, found: Findings): Promise<ImportCounts> {
  const { tx, staged } = input
  await planForMany(tx)
  const misplaced = await judgeAll(input)
  const { known, same } = await findKnown(tx)
  const counts = { created: staged - known, updated: 0, unchanged: same }
  if (known > same) await planKnown(input, counts, found)
  if (misplaced) counts.created -= await refuseMisplaced(tx, found)
  if (counts.created + counts.updated === 0) return counts
  const lost = await nameImport(tx, found)
  counts.created -= lost.created
  counts.updated -= lost.updated
  return counts
}

/** Places that are judged at once. */
const page = 500

/** @returns whether some place is such that no new device may go there */
async function judgeAll({ tx, places, mayLower }: PlanInput): Promise<boolean> {
  let misplaced = false
  for (let rows = await nextPlaces(tx, 0, page); rows.length > 0; ) {
    await places.learn(rows.map((row) => ({ ...row, device: null })))
    const verdicts = rows.map((row) => judge(row, places, mayLower))
    await judgePlaces(tx, verdicts)
    misplaced ||= verdicts.some(({ reason }) => reason !== null)
    rows = await nextPlaces(tx, rows.at(-1)?.id ?? 0, page)
  }
  return misplaced
}

function judge(row: PlaceRow, places: ImportPlaces, mayLower: boolean): Verdict {
  const place: Place = {}
  give(place, row, ['profile', 'cluster', 'role', 'min_assurance'])
  const plan = planNew(place, places, mayLower)
  const wrong = plan.kind === 'refused' ? plan : undefined
  return {
    id: row.id,
    profile_id: place.profile === undefined ? null : (places.profile({ name: place.profile })?.id ?? null),
    cluster_id: place.cluster === undefined ? null : (places.cluster({ name: place.cluster })?.id ?? null),
    path: wrong?.path ?? null,
    reason: wrong?.reason ?? null,
  }
}

async function refuseMisplaced(tx: Drizzle, found: Findings): Promise<number> {
  const { rows, total } = await misplacedLines(tx, shownRefusals)
  const refusals = rows.map(({ line, serial, path, reason }) => ({ line, serial, reason, ...(path ? { path } : {}) }))
  found.refuseAll(refusals, total)
  return total
}

async function planKnown(input: PlanInput, counts: ImportCounts, found: Findings): Promise<void> {
  const { tx, actor, places } = input
  const batches = await batchesOfKnown(tx)
  const read = async (at: number) => {
    const batch = batches[at]
    return batch ? knownLines(tx, batch) : []
  }
  let rows = await read(0)
  for (let at = 0; at < batches.length; at++) {
    // Asked for now, so that Postgres has the next lines ready when these are planned.
    const ahead = read(at + 1)
    ahead.catch(() => {})
    await places.learn(rows)
    const changed: ChangedLine[] = []
    for (const row of rows) {
      const plan = planRow(row, input)
      if (plan.kind === 'refused') found.refuse({ line: row.line, serial: row.serial, ...reasonOf(plan) })
      if (plan.kind === 'unchanged') counts.unchanged += 1
      if (plan.kind === 'update') changed.push(changedLine(row, plan, actor))
    }
    counts.updated += changed.length
    await keepChanges(tx, changed)
    rows = await ahead
  }
}

/** What a line does. @throws AppError `busy` when the roll does not know any more what it knew a moment ago */
export function planRow(row: LineRow, { places, mayLower }: Pick<PlanInput, 'places' | 'mayLower'>): Plan {
  const pin = row.pin === null ? null : { thumbprint: row.pin, jwk: row.rest.jwk ?? null }
  const plan = planLine({ input: inputOf(row), pin, known: row, places, mayLower })
  if (plan.kind !== 'new') return plan
  throw new AppError('busy', { detail: 'the roll was changed meanwhile: send the file again', retryAfter: 1 })
}

/** What the line gives, again. */
function inputOf(row: LineRow): ImportInput {
  const input: Partial<ImportInput> = { serial: row.serial }
  give(input, row, ['profile', 'cluster', 'role', 'hostname', 'min_assurance'])
  give(input, row.rest, ['uuid', 'note', 'labels', 'vars', 'macs'])
  return input as ImportInput
}

/** Puts those of the members into `input` that are not null. */
function give(input: object, row: object, names: readonly string[]): void {
  const [to, from] = [input as Record<string, unknown>, row as Record<string, unknown>]
  for (const name of names) if (from[name] != null) to[name] = from[name]
}

const reasonOf = ({ path, reason }: { path?: string; reason: string }) => ({ reason, ...(path ? { path } : {}) })

function changedLine(row: LineRow, plan: Extract<Plan, { kind: 'update' }>, actor: Actor): ChangedLine {
  const { next, rename, pin } = plan
  const device = row.device as NonNullable<LineRow['device']>
  const detail = { by: actor.name, import: true, changed: changedMembers(plan, device) }
  return {
    ...next,
    line: row.line,
    version: device.version,
    rename,
    hostname: next.hostname ?? (rename ? deriveHostname(next.serial) : null),
    old_hostname: device.hostname,
    thumbprint: pin?.thumbprint ?? null,
    jwk: pin?.jwk ?? null,
    detail,
  }
}

/** By their JSON names; no values, since a variable may hold what its admin would not like to read in a log. */
function changedMembers({ next, pin, rename }: Extract<Plan, { kind: 'update' }>, old: Columns): string[] {
  const names = Object.keys(next) as (keyof Columns)[]
  const changed = names
    .filter((name) => (name === 'hostname' && rename) || !isDeepStrictEqual(next[name], old[name]))
    .map((name) => name.replace(/_id$/, ''))
  return pin ? [...changed, 'identity'] : changed
}
