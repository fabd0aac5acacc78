import { sql } from 'drizzle-orm'
import type { Columns } from '../roll/import-plan.ts'
import { deviceStates, isTombstone } from '../roll/state.ts'
import type { Drizzle } from './database.ts'
import { changes, type StagedLine } from './import-stage.ts'
import { executePrepared } from './prepared.ts'

const tombstones = sql.raw(
  deviceStates
    .filter(isTombstone)
    .map((state) => `'${state}'`)
    .join(),
)

/** `same`: of them, those that say nothing but what the roll says. */
export type Known = { known: number; same: number }

// Lateral, each with its limit: looked up line by line in an index, whatever Postgres believes of the size of the roll.
/**
 * Finds the staged lines whose serial or key the roll knows. What a line does not give is as it was, and labels and variables are laid
 * over the old ones: `planLine` says the same of a line that is the same, and judges all others.
 */
export async function findKnown(tx: Drizzle): Promise<Known> {
  const [found] = await tx.execute<Known>(sql`
    with found as (
      insert into import_known
      select l.line, l.batch, d.id, coalesce(d.state not in (${tombstones})
        and (l.thumbprint is null or (i.thumbprint = l.thumbprint and (i.jwk is null) = (l.jwk is null)))
        and (p.profile is null or p.profile_id = d.profile_id) and (p.cluster is null or p.cluster_id = d.cluster_id)
        and (p.role is null or p.role = d.role) and (p.min_assurance is null or p.min_assurance = d.min_assurance)
        and (not l.hostname_given or (d.hostname_given and d.hostname = l.hostname))
        and (l.uuid is null or l.uuid = d.uuid) and (l.note is null or l.note = d.note) and (l.macs is null or l.macs = d.macs)
        and (l.labels is null or d.labels || l.labels = d.labels) and (l.vars is null or d.vars || l.vars = d.vars), false)
      from import_lines l join import_places p on p.id = l.place
      left join lateral (select * from devices d where d.serial_key = l.serial_key limit 1) d on true
      left join lateral (select thumbprint, jwk from identities where device_id = d.id and ended_at is null limit 1) i on true
      left join lateral (
        select device_id from identities where thumbprint = l.thumbprint and ended_at is null limit 1
      ) o on true
      where d.id is not null or o.device_id is not null
      returning same
    )
    select count(*)::int as known, (count(*) filter (where same))::int as same from found`)
  return found ?? { known: 0, same: 0 }
}

/** Lines from the first to the last that are planned together. */
export type Batch = { first: number; last: number }

/** The batches in which some line says something new of a device, or of a key, that the roll knows. */
export async function batchesOfKnown(tx: Drizzle): Promise<Batch[]> {
  return tx.execute<Batch>(sql`
    select min(line) as first, max(line) as last from import_known where not same group by batch order by batch`)
}

/** A device as it is on the roll, in the columns' own names: those that a line may change, and what decides over it. */
export type KnownDevice = Columns & { state: string; version: number }

/** A staged line beside what the roll knows of its serial and its key. */
export type LineRow = {
  line: number
  serial: string
  profile: string | null
  cluster: string | null
  role: string | null
  hostname: string | null
  min_assurance: string | null
  /** The key that the line gives */
  pin: string | null
  /** What else it gives */
  rest: Pick<StagedLine, 'uuid' | 'note' | 'labels' | 'vars' | 'macs' | 'jwk'>
  device: KnownDevice | null
  /** Live key of the device */
  thumbprint: string | null
  has_jwk: boolean
  /** The device that the line's key is pinned for */
  key_owner: string | null
  enrolled: boolean
  live: boolean
}

const deviceColumns =
  sql.raw(`d.id, d.serial, d.profile_id, d.cluster_id, d.role, d.hostname, d.hostname_given, d.uuid, d.note, d.labels, d.vars,
  d.macs, d.min_assurance, d.state, d.version`)

/** The lines of a batch that say something new, in their order. */
export async function knownLines(tx: Drizzle, { first, last }: Batch): Promise<LineRow[]> {
  return tx.execute<LineRow>(sql`
    select l.line, l.serial, p.profile, p.cluster, p.role, p.min_assurance, case when l.hostname_given then l.hostname end as hostname,
      l.thumbprint as pin, d.device, d.thumbprint,
      json_build_object('uuid', l.uuid, 'note', l.note, 'labels', l.labels, 'vars', l.vars, 'macs', l.macs, 'jwk', l.jwk) as rest,
      coalesce(d.has_jwk, false) as has_jwk, o.device_id as key_owner,
      coalesce(d.enrolled, false) as enrolled, coalesce(d.live, false) as live
    from import_known k join import_lines l on l.line = k.line join import_places p on p.id = l.place
    left join lateral (
      select (select to_json(k) from (select ${deviceColumns}) k) as device, i.thumbprint, i.jwk is not null as has_jwk,
        exists (select 1 from enrollments e where e.device_id = d.id) as enrolled,
        exists (select 1 from enrollments e where e.device_id = d.id and e.ended_at is null) as live
      from devices d left join identities i on i.device_id = d.id and i.ended_at is null
      where d.id = k.device_id limit 1
    ) d on true
    left join lateral (
      select device_id from identities where thumbprint = l.thumbprint and ended_at is null limit 1
    ) o on true
    where k.line >= ${first} and k.line <= ${last} and not k.same
    order by l.line`)
}

/** What a line leaves a device with. */
export type ChangedLine = Columns & {
  line: number
  /** Of the device as it was read */
  version: number
  /** Its hostname is a wish */
  rename: boolean
  old_hostname: string | null
  /** The key that takes the place of its old one */
  thumbprint: string | null
  jwk: Record<string, string> | null
  /** What its timeline is told */
  detail: { changed: string[] }
}

export async function keepChanges(tx: Drizzle, lines: readonly ChangedLine[]): Promise<void> {
  if (lines.length === 0) return
  await executePrepared(
    tx,
    sql`insert into import_changes select * from json_to_recordset(${JSON.stringify(lines)}::text::json) as c(${changes})`,
  )
}
