import { sql } from 'drizzle-orm'
import type { Drizzle } from './database.ts'
import { executePrepared } from './prepared.ts'

/**
 * Makes Postgres plan for the roll that is to be, not for the one that was: it keeps the plan of a foreign key's check for as long as it
 * has no news of the table, and a sequential scan of five devices becomes one of 100,000 for each row of the import.
 */
export async function planForMany(tx: Drizzle): Promise<void> {
  await tx.execute(sql`discard plans`)
  for (const plan of ['seqscan', 'hashjoin', 'mergejoin']) await tx.execute(sql.raw(`set local enable_${plan} = off`))
}

/** News of a roll that has grown, for every connection that has plans of its own; else autovacuum brings it a minute later. */
export async function announceGrowth(tx: Drizzle): Promise<void> {
  // A sample of 6,000 rows: the size is the news, and 30,000 of each table took half a second.
  await tx.execute(sql`set local default_statistics_target = 20`)
  await tx.execute(sql`analyze devices (id, serial_key, profile_id, cluster_id, hostname, state)`)
  await tx.execute(sql`analyze identities (device_id, thumbprint, ended_at)`)
}

/** Lines behind `after`, up to and with `last`. */
export type Range = { after: number; last: number }

/**
 * Puts the new devices of a range of lines on the roll, with their keys and the beginning of their timelines, straight from the stage.
 * @returns how many
 * @throws 23505 when another admin took a serial, hostname or key meanwhile
 */
export async function insertDevices(tx: Drizzle, now: number, by: string, { after, last }: Range): Promise<number> {
  const { count } = await executePrepared(
    tx,
    sql`
    with made as (
      select l.id, p.profile_id, p.cluster_id, l.hostname_given, l.serial, l.serial_key, p.role, l.uuid, coalesce(l.note, '') as note,
        case when p.cluster_id is not null then n.hostname when l.hostname_given then l.hostname end as hostname,
        coalesce(l.labels, '{}') as labels, coalesce(l.vars, '{}') as vars, coalesce(l.macs, '{}') as macs,
        p.min_assurance, l.thumbprint, l.jwk, to_timestamp(${now}) as at
      from import_lines l join import_places p on p.id = l.place left join import_names n on n.line = l.line
      where l.line > ${after} and l.line <= ${last} and p.reason is null and (p.cluster_id is null or n.line is not null)
        and not exists (select from import_known k where k.line = l.line)
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
  return count
}

/**
 * Writes what lines change of devices on the roll, and tells their timelines.
 * @returns how many devices were still as they were read
 * @throws 23505 when another admin took a hostname or key meanwhile
 */
export async function updateDevices(tx: Drizzle, now: number, { after, last }: Range): Promise<number> {
  const range = sql`c.line > ${after} and c.line <= ${last}`
  const done = await tx.execute(sql`
    update devices d set profile_id = c.profile_id, cluster_id = c.cluster_id, role = c.role, hostname = c.hostname,
      hostname_given = c.hostname_given, uuid = c.uuid, note = c.note, labels = c.labels, vars = c.vars, macs = c.macs,
      min_assurance = c.min_assurance, version = d.version + 1, updated_at = to_timestamp(${now})
    from import_changes c where ${range} and d.id = c.id and d.version = c.version`)
  await tx.execute(sql`
    update identities i set ended_at = to_timestamp(${now})
    from import_changes c where ${range} and c.thumbprint is not null and i.device_id = c.id and i.ended_at is null`)
  await tx.execute(sql`
    insert into identities (device_id, thumbprint, jwk, created_at)
    select c.id, c.thumbprint, c.jwk, to_timestamp(${now}) from import_changes c where ${range} and c.thumbprint is not null`)
  await tx.execute(sql`
    insert into events (device_id, at, source, name, result, detail)
    select c.id, to_timestamp(${now}), 'admin', 'changed', 'ok', c.detail from import_changes c where ${range}`)
  return done.count
}
