import type { Sql } from 'postgres'

/**
 * Whether a device was given a cluster's server token before, and no other server that lives was: with embedded etcd the cluster was on its disk
 * alone. Any other server that may hold a part of it makes this false, since wiping what is left would be final.
 */
export async function wasLastServer(sql: Sql, clusterId: string, deviceId: string): Promise<boolean> {
  const [row] = await sql<{ last: boolean }[]>`
    select count(*) filter (where device_id = ${deviceId}) > 0
      and count(*) filter (where device_id <> ${deviceId} and ended_at is null) = 0 as last
    from enrollments where cluster_id = ${clusterId} and role = 'server' and redeemed_at is not null`
  return row?.last ?? false
}

/** Whether another device is a server of a cluster, or was given a document to become one. */
export async function hasServerBeside(sql: Sql, clusterId: string, deviceId: string): Promise<boolean> {
  const rows = await sql`
    select 1 from enrollments
    where cluster_id = ${clusterId} and role = 'server' and device_id <> ${deviceId} and ended_at is null limit 1`
  return rows.length > 0
}
