import type { Sql, TransactionSql } from 'postgres'
import { loginRole } from '../k3s/datastore-names.ts'
import type { Asker } from './gate.ts'

/**
 * Notes a server's login before it is made, if it may have one at this moment. Whoever takes the lease afterwards sees the note, since both
 * lock the cluster's row.
 * @returns false if it is not its turn
 */
export async function noteLogin(sql: Sql, asker: Asker, now: number): Promise<boolean> {
  const { clusterId, deviceId, enrollmentId } = asker
  const rows = await sql`
    with gate as (
      select id from clusters
      where id = ${clusterId} and deleted_at is null
        and (state = 'up' or (state = 'initializing' and initializer_device_id = ${deviceId} and initializer_until > to_timestamp(${now})))
      for share
    )
    insert into datastore_logins (role, cluster_id, device_id, enrollment_id, created_at)
    select ${loginRole(enrollmentId)}, id, ${deviceId}, ${enrollmentId}, to_timestamp(${now}) from gate
    on conflict (enrollment_id) do update set fenced_at = null, dropped_at = null
    returning 1`
  return rows.length > 0
}

/** Keeps an enrollment from ending until the transaction does: whoever revokes it waits until its login is there to be fenced. */
export async function holdEnrollment(tx: TransactionSql, enrollmentId: string): Promise<boolean> {
  const rows = await tx`select from enrollments where id = ${enrollmentId} and ended_at is null for share`
  return rows.length > 0
}

/** Notes that these may log in no more; called when it is so. */
export async function noteFenced(sql: Sql, enrollmentIds: readonly string[], now: number): Promise<void> {
  await sql`
    update datastore_logins set fenced_at = to_timestamp(${now})
    where enrollment_id in ${sql(enrollmentIds)} and fenced_at is null`
}

/** Those of some fenced logins that may be given back: their enrollments live on, and their cluster is up. Noted before they are made. */
export async function noteRestored(sql: Sql, enrollmentIds: readonly string[]): Promise<string[]> {
  const rows = await sql<{ enrollment_id: string }[]>`
    update datastore_logins l set fenced_at = null
    from enrollments e, clusters c
    where l.enrollment_id in ${sql(enrollmentIds)} and l.dropped_at is null and e.id = l.enrollment_id and e.ended_at is null
      and c.id = l.cluster_id and c.state = 'up'
    returning l.enrollment_id`
  return rows.map((row) => row.enrollment_id)
}
