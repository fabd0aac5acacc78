import { sql } from 'drizzle-orm'
import type { Drizzle } from './database.ts'

/** A line that was read and is well formed; `record` is kept as it is. */
export type StagedLine = {
  line: number
  serial_key: string
  thumbprint: string | null
  record: unknown
  /** Characters of `record`, about */
  size: number
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
    create temp table import_lines (line int primary key, serial_key text not null, thumbprint text, record json not null, size int not null)
    on commit drop`)
  return true
}

export async function stageLines(tx: Drizzle, lines: readonly StagedLine[]): Promise<void> {
  await tx.execute(sql`
    insert into import_lines (line, serial_key, thumbprint, record, size)
    select line, serial_key, thumbprint, record, size from json_to_recordset(${JSON.stringify(lines)}::text::json)
      as i(line int, serial_key text, thumbprint text, record json, size int)`)
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

/** The next staged lines in their order, each beside what the roll knows; fewer where they are large. */
export async function nextLines<R>(
  tx: Drizzle,
  after: number,
  most: { lines: number; size: number },
): Promise<LineRow<R>[]> {
  return tx.execute<LineRow<R>>(sql`
    select l.line, l.record, to_json(d) as device, i.thumbprint, i.jwk is not null as has_jwk, o.device_id as key_owner,
      exists (select 1 from enrollments e where e.device_id = d.id) as enrolled,
      exists (select 1 from enrollments e where e.device_id = d.id and e.ended_at is null) as live
    from (
      select *, sum(size) over (order by line) - size as before
      from (select * from import_lines where line > ${after} order by line limit ${most.lines}) s
    ) l
    left join devices d on d.serial_key = l.serial_key
    left join identities i on i.device_id = d.id and i.ended_at is null
    left join identities o on o.thumbprint = l.thumbprint and o.ended_at is null
    where l.before < ${most.size}
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

/** What is written of a device. */
export type WrittenDevice = Omit<KnownDevice, 'state' | 'version'>

const columns =
  sql.raw(`id text, serial text, profile_id text, cluster_id text, role text, hostname text, hostname_given bool,
  uuid text, note text, labels jsonb, vars jsonb, macs text[], min_assurance text, version int`)

/** @throws 23505 when another admin took a serial or hostname meanwhile */
export async function insertDevices(tx: Drizzle, now: number, rows: readonly WrittenDevice[]): Promise<void> {
  if (rows.length === 0) return
  await tx.execute(sql`
    insert into devices (id, serial, serial_key, profile_id, cluster_id, role, hostname, hostname_given, uuid, note, labels, vars, macs,
      min_assurance, state_since, created_at, updated_at)
    select id, serial, lower(serial), profile_id, cluster_id, role, hostname, hostname_given, uuid, note, labels, vars, macs,
      min_assurance, to_timestamp(${now}), to_timestamp(${now}), to_timestamp(${now})
    from json_to_recordset(${JSON.stringify(rows)}::text::json) as i(${columns})`)
}

/** @returns how many were still as they were read */
export async function updateDevices(
  tx: Drizzle,
  now: number,
  rows: readonly (WrittenDevice & { version: number })[],
): Promise<number> {
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

export type ImportEvent = { device_id: string; name: 'registered' | 'changed'; detail: unknown }

export async function recordEvents(tx: Drizzle, now: number, told: readonly ImportEvent[]): Promise<void> {
  if (told.length === 0) return
  await tx.execute(sql`
    insert into events (device_id, at, source, name, result, detail)
    select device_id, to_timestamp(${now}), 'admin', name, 'ok', detail
    from json_to_recordset(${JSON.stringify(told)}::text::json) as e(device_id text, name text, detail jsonb)`)
}
