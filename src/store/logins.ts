import type { Sql } from 'postgres'

/** A node's login in the clusters' datastore. It is noted before it is made (store/gate-logins.ts), so that none is ever forgotten. */
export type LoginRow = { role: string; cluster_id: string; enrollment_id: string; fenced: boolean }

/** The logins of a device, or of one enrollment, whose roles are there. */
export function selectLogins(sql: Sql, of: { deviceId: string } | { enrollmentId: string }): Promise<LoginRow[]> {
  const where = 'deviceId' in of ? sql`device_id = ${of.deviceId}` : sql`enrollment_id = ${of.enrollmentId}`
  return sql<LoginRow[]>`
    select role, cluster_id, enrollment_id, fenced_at is not null as fenced
    from datastore_logins where ${where} and dropped_at is null order by created_at`
}

/** Whose a login is. */
export async function findLogin(
  sql: Sql,
  role: string,
): Promise<{ cluster_id: string; enrollment_id: string; serial: string } | undefined> {
  const [row] = await sql<{ cluster_id: string; enrollment_id: string; serial: string }[]>`
    select l.cluster_id, l.enrollment_id, d.serial
    from datastore_logins l join devices d on d.id = l.device_id where l.role = ${role} and l.dropped_at is null`
  return row
}

/** Tells a device's timeline what its login did to keep others from PostgreSQL, once. @param did `deed`: behind "it" */
export async function noteHoarder(
  sql: Sql,
  role: string,
  did: { locks: number; deed: string },
  now: number,
): Promise<void> {
  await sql`
    with login as (select device_id, enrollment_id from datastore_logins where role = ${role}),
    first as (
      insert into alarms (device_id, about, at) select device_id, ${`locks:${role}`}, to_timestamp(${now}) from login
      on conflict (device_id, about) do nothing returning 1
    )
    insert into events (device_id, enrollment_id, at, source, name, result, detail)
    select device_id, enrollment_id, to_timestamp(${now}), 'server', 'alarm.datastore_locks', 'fail', jsonb_build_object(
      'locks', ${did.locks}::int, 'detail', ${`it ${did.deed}, which all clusters share; its datastore login was ended`}::text)
    from login, first`
}

/** The logins of a cluster whose roles are there. */
export function selectClusterLogins(sql: Sql, clusterId: string): Promise<LoginRow[]> {
  return sql<LoginRow[]>`
    select role, cluster_id, enrollment_id, fenced_at is not null as fenced
    from datastore_logins where cluster_id = ${clusterId} and dropped_at is null order by created_at`
}

/**
 * Logins whose enrollment ended. One that a fresh claim replaced is still in use until that claim's own login is made, since the
 * box may be running while it is prepared anew; or until `grace` is over.
 * @param now Unix seconds
 * @param grace seconds
 * @param deviceId one device's; all devices' if not given
 */
export function selectEndedLogins(sql: Sql, now: number, grace: number, deviceId?: string): Promise<LoginRow[]> {
  const ofDevice = deviceId === undefined ? sql`` : sql`and l.device_id = ${deviceId}`
  return sql<LoginRow[]>`
    select l.role, l.cluster_id, l.enrollment_id, l.fenced_at is not null as fenced
    from datastore_logins l join enrollments e on e.id = l.enrollment_id
    where l.dropped_at is null and e.ended_at is not null and (
      e.end_reason is distinct from 'replaced' or e.ended_at <= to_timestamp(${now - grace})
      or exists (select from datastore_logins n join enrollments m on m.id = n.enrollment_id
        where n.device_id = l.device_id and m.ended_at is null and n.dropped_at is null)) ${ofDevice}
    order by l.created_at`
}

export async function markFenced(sql: Sql, role: string, now: number): Promise<void> {
  await sql`update datastore_logins set fenced_at = coalesce(fenced_at, to_timestamp(${now})) where role = ${role}`
}

export async function markDropped(sql: Sql, role: string, now: number): Promise<void> {
  await sql`
    update datastore_logins set fenced_at = coalesce(fenced_at, to_timestamp(${now})), dropped_at = to_timestamp(${now})
    where role = ${role}`
}
