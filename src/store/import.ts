import { sql } from 'drizzle-orm'
import type { Drizzle } from './database.ts'

/** A line that was read and is well formed. `record` is kept as it is, with the roll's own spelling of what is written. */
export type StagedLine = {
  line: number
  serial_key: string
  thumbprint: string | null
  record: {
    serial: string
    role?: string | undefined
    hostname?: string | undefined
    uuid?: string | undefined
    note?: string | undefined
    labels?: Record<string, string> | undefined
    vars?: Record<string, unknown> | undefined
    macs?: readonly string[] | undefined
    min_assurance?: string | undefined
    pin: { thumbprint: string; jwk: Record<string, string> | null } | null
  }
}

/** A device as it is on the roll, in the columns' own names; times are not of interest here. */
export type KnownDevice = {
  id: string
  serial: string
  profile_id: string
  cluster_id: string | null
  role: string | null
  hostname: string | null
  hostname_given: boolean
  uuid: string | null
  note: string
  labels: Record<string, string>
  vars: Record<string, unknown>
  macs: string[]
  min_assurance: string | null
  state: string
  version: number
}

/** A staged line beside what the roll knows of its serial and its key. */
export type LineRow<R> = {
  line: number
  record: R
  device: KnownDevice | null
  /** Live key of the device */
  thumbprint: string | null
  has_jwk: boolean
  /** The device that the line's key is pinned for */
  key_owner: string | null
  enrolled: boolean
  live: boolean
}

/**
 * A place for the lines, of this transaction alone. An import reads at the sender's pace and must hold no device's row meanwhile.
 * @returns false while another import runs
 */
export async function openStage(tx: Drizzle): Promise<boolean> {
  const [row] = await tx.execute<{ ok: boolean }>(
    sql`select pg_try_advisory_xact_lock(hashtextextended('rollcall.import', 0)) as ok`,
  )
  if (!row?.ok) return false
  await tx.execute(sql`
    create temp table import_lines (line int primary key, serial_key text not null, thumbprint text, record jsonb not null)
    on commit drop`)
  return true
}

/** @param lines each the JSON of a `StagedLine` */
export async function stageLines(tx: Drizzle, lines: readonly string[]): Promise<void> {
  await tx.execute(sql`
    insert into import_lines (line, serial_key, thumbprint, record)
    select line, serial_key, thumbprint, record from json_to_recordset(${`[${lines.join()}]`}::text::json)
      as i(line int, serial_key text, thumbprint text, record jsonb)`)
}

export type Repeat = { line: number; serial: string; first: number }

/** Takes out the later lines of a serial or a key that stands in the file twice. */
export async function takeRepeats(tx: Drizzle, what: 'serial_key' | 'thumbprint'): Promise<Repeat[]> {
  const column = sql.raw(what)
  return tx.execute<Repeat>(sql`
    with repeated as (
      select ${column}, min(line) as first from import_lines where ${column} is not null group by 1 having count(*) > 1
    )
    delete from import_lines l using repeated r where l.${column} = r.${column} and l.line > r.first
    returning l.line, l.record->>'serial' as serial, r.first`)
}

/**
 * Makes Postgres plan for the roll that is to be, not for the one that was: it keeps the plan of a foreign key's check for as long as it
 * has no news of the table, and a sequential scan of five devices becomes one of 100,000 for each row of the import.
 */
export async function planForMany(tx: Drizzle): Promise<void> {
  await tx.execute(sql`discard plans`)
  await tx.execute(sql`set local enable_seqscan = off`)
  await tx.execute(sql`set local jit = off`)
}

/** News of a roll that has grown, for every connection that has plans of its own; else autovacuum brings it a minute later. */
export async function announceGrowth(tx: Drizzle): Promise<void> {
  await tx.execute(sql`analyze devices`)
  await tx.execute(sql`analyze identities`)
}

// Lateral, each with its limit: looked up line by line in an index, whatever Postgres believes of the size of a roll that grows under it.
/** The next staged lines in their order, each beside what the roll knows; fewer where they are large. */
export async function nextLines<R>(
  tx: Drizzle,
  after: number,
  most: { lines: number; size: number },
): Promise<LineRow<R>[]> {
  return tx.execute<LineRow<R>>(sql`
    select l.line, l.record, d.device, d.thumbprint, coalesce(d.has_jwk, false) as has_jwk, o.device_id as key_owner,
      coalesce(d.enrolled, false) as enrolled, coalesce(d.live, false) as live
    from (
      select *, sum(pg_column_size(record)) over (order by line rows unbounded preceding) as upto
      from (select * from import_lines where line > ${after} order by line limit ${most.lines}) s
    ) l
    left join lateral (
      select to_json(d) as device, i.thumbprint, i.jwk is not null as has_jwk,
        exists (select 1 from enrollments e where e.device_id = d.id) as enrolled,
        exists (select 1 from enrollments e where e.device_id = d.id and e.ended_at is null) as live
      from devices d left join identities i on i.device_id = d.id and i.ended_at is null
      where d.serial_key = l.serial_key limit 1
    ) d on true
    left join lateral (
      select device_id from identities where thumbprint = l.thumbprint and ended_at is null limit 1
    ) o on true
    where l.upto - pg_column_size(l.record) < ${most.size}
    order by l.line`)
}

/** Those of the given names that some device of the cluster has or had, as `cluster/hostname`. */
export async function takenHostnames(
  tx: Drizzle,
  names: readonly { cluster_id: string; hostname: string }[],
): Promise<Set<string>> {
  if (names.length === 0) return new Set()
  const rows = await tx.execute<{ taken: string }>(sql`
    select d.cluster_id || '/' || d.hostname as taken
    from json_to_recordset(${JSON.stringify(names)}::text::json) as n(cluster_id text, hostname text)
    join devices d on d.cluster_id = n.cluster_id and d.hostname = n.hostname`)
  return new Set(rows.map((row) => row.taken))
}

/** A device with what a line changed of it. */
export type ChangedDevice = Omit<KnownDevice, 'state'>

const columns =
  sql.raw(`id text, serial text, profile_id text, cluster_id text, role text, hostname text, hostname_given bool,
  uuid text, note text, labels jsonb, vars jsonb, macs text[], min_assurance text, version int`)

/** A device that a staged line makes; the rest of it is in the line's record. */
export type MadeDevice = {
  line: number
  id: string
  profile_id: string
  cluster_id: string | null
  hostname: string | null
}

/**
 * Puts devices on the roll, with their keys and the beginning of their timelines, straight from the staged lines.
 * @throws 23505 when another admin took a serial, hostname or key meanwhile
 */
export async function insertDevices(tx: Drizzle, now: number, by: string, rows: readonly MadeDevice[]): Promise<void> {
  if (rows.length === 0) return
  await tx.execute(sql`
    with made as (
      select i.*, l.serial_key, l.thumbprint, l.record as r, to_timestamp(${now}) as at
      from json_to_recordset(${JSON.stringify(rows)}::text::json)
        as i(line int, id text, profile_id text, cluster_id text, hostname text)
      join import_lines l using (line)
    ), devices as (
      insert into devices (id, serial, serial_key, profile_id, cluster_id, role, hostname, hostname_given, uuid, note, labels, vars,
        macs, min_assurance, state_since, created_at, updated_at)
      select id, r->>'serial', serial_key, profile_id, cluster_id, r->>'role', hostname, r->>'hostname' is not null, r->>'uuid',
        coalesce(r->>'note', ''), coalesce(r->'labels', '{}'), coalesce(r->'vars', '{}'),
        case when r ? 'macs' then array(select jsonb_array_elements_text(r->'macs')) else '{}' end,
        r->>'min_assurance', at, at, at
      from made
    ), identities as (
      insert into identities (device_id, thumbprint, jwk, created_at)
      select id, thumbprint, nullif(r->'pin'->'jwk', 'null'), at from made where thumbprint is not null
    )
    insert into events (device_id, at, source, name, result, detail)
    select id, at, 'admin', 'registered', 'ok',
      jsonb_build_object('by', ${by}::text, 'import', true, 'hostname', hostname)
    from made`)
}

/** @returns how many were still as they were read */
export async function updateDevices(tx: Drizzle, now: number, rows: readonly ChangedDevice[]): Promise<number> {
  if (rows.length === 0) return 0
  const done = await tx.execute(sql`
    update devices d set profile_id = i.profile_id, cluster_id = i.cluster_id, role = i.role, hostname = i.hostname,
      hostname_given = i.hostname_given, uuid = i.uuid, note = i.note, labels = i.labels, vars = i.vars, macs = i.macs,
      min_assurance = i.min_assurance, version = d.version + 1, updated_at = to_timestamp(${now})
    from json_to_recordset(${JSON.stringify(rows)}::text::json) as i(${columns})
    where d.id = i.id and d.version = i.version returning d.id`)
  return done.length
}

export type WrittenKey = { device_id: string; thumbprint: string; jwk: Record<string, string> | null }

/** Pins keys, in place of the devices' old ones. @throws 23505 when another admin pinned one meanwhile */
export async function replaceKeys(tx: Drizzle, now: number, keys: readonly WrittenKey[]): Promise<void> {
  if (keys.length === 0) return
  const text = JSON.stringify(keys)
  await tx.execute(sql`
    update identities set ended_at = to_timestamp(${now})
    where ended_at is null and device_id in (select device_id from json_to_recordset(${text}::text::json) as k(device_id text))`)
  await tx.execute(sql`
    insert into identities (device_id, thumbprint, jwk, created_at)
    select device_id, thumbprint, jwk, to_timestamp(${now})
    from json_to_recordset(${text}::text::json) as k(device_id text, thumbprint text, jwk jsonb)`)
}

export type ChangeEvent = { device_id: string; detail: unknown }

export async function recordChanges(tx: Drizzle, now: number, told: readonly ChangeEvent[]): Promise<void> {
  if (told.length === 0) return
  await tx.execute(sql`
    insert into events (device_id, at, source, name, result, detail)
    select device_id, to_timestamp(${now}), 'admin', 'changed', 'ok', detail
    from json_to_recordset(${JSON.stringify(told)}::text::json) as e(device_id text, detail jsonb)`)
}
