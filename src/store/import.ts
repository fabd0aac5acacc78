import { sql } from 'drizzle-orm'
import type { Drizzle } from './database.ts'
import type { KnownDevice } from './import-stage.ts'
import { executePrepared } from './prepared.ts'

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
  // A sample of 6,000 rows: the size is the news, and 30,000 of each table took half a second.
  await tx.execute(sql`set local default_statistics_target = 20`)
  await tx.execute(sql`analyze devices (id, serial_key, profile_id, cluster_id, hostname, state)`)
  await tx.execute(sql`analyze identities (device_id, thumbprint, ended_at)`)
}

/** A hostname in a cluster. */
export type Hostname = { cluster_id: string; hostname: string }

// Lateral, as in import-stage.ts: looked up one by one in an index.
/** Those of the given names that some device of the cluster has or had, or that this import keeps, as `cluster/hostname`. */
export async function takenHostnames(tx: Drizzle, names: readonly Hostname[]): Promise<Set<string>> {
  if (names.length === 0) return new Set()
  const rows = await tx.execute<{ taken: string }>(sql`
    select n.cluster_id || '/' || n.hostname as taken
    from json_to_recordset(${JSON.stringify(names)}::text::json) as n(cluster_id text, hostname text)
    left join lateral (
      select true as yes from devices where cluster_id = n.cluster_id and hostname = n.hostname limit 1
    ) d on true
    left join lateral (
      select true as yes from import_names where cluster_id = n.cluster_id and hostname = n.hostname limit 1
    ) k on true
    where d.yes or k.yes`)
  return new Set(rows.map((row) => row.taken))
}

/** Keeps names from the lines to come: what a dry run gave, and what a device had until an earlier line took it away. */
export async function keepHostnames(tx: Drizzle, names: readonly Hostname[]): Promise<void> {
  if (names.length === 0) return
  await executePrepared(
    tx,
    sql`
    insert into import_names select * from json_to_recordset(${JSON.stringify(names)}::text::json) as n(cluster_id text, hostname text)
    on conflict do nothing`,
  )
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
  await executePrepared(
    tx,
    sql`
    with made as (
      select i.id, i.profile_id, i.cluster_id, i.hostname, l.hostname is not null as hostname_given, l.serial, l.serial_key, l.role, l.uuid,
        coalesce(l.note, '') as note, coalesce(l.labels, '{}') as labels, coalesce(l.vars, '{}') as vars, coalesce(l.macs, '{}') as macs,
        l.min_assurance, l.thumbprint, l.jwk, to_timestamp(${now}) as at
      from json_to_recordset(${JSON.stringify(rows)}::text::json)
        as i(line int, id text, profile_id text, cluster_id text, hostname text)
      join import_lines l using (line)
    ), devices as (
      insert into devices (id, serial, serial_key, profile_id, cluster_id, role, hostname, hostname_given, uuid, note, labels, vars,
        macs, min_assurance, state_since, created_at, updated_at)
      select id, serial, serial_key, profile_id, cluster_id, role, hostname, hostname_given, uuid, note, labels, vars,
        macs, min_assurance, at, at, at
      from made
    ), identities as (
      insert into identities (device_id, thumbprint, jwk, created_at)
      select id, thumbprint, jwk, at from made where thumbprint is not null
    )
    insert into events (device_id, at, source, name, result, detail)
    select id, at, 'admin', 'registered', 'ok',
      jsonb_build_object('by', ${by}::text, 'import', true, 'hostname', hostname)
    from made`,
  )
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
