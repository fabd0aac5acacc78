import { and, desc, eq, isNotNull, isNull, ne, sql } from 'drizzle-orm'
import { datastoreLogins, tasks } from './cluster-schema.ts'
import type { Drizzle } from './database.ts'
import { clusters } from './declared-schema.ts'
import { enrollments } from './schema.ts'

/** What a device was last in a cluster. */
export type Membership = Awaited<ReturnType<typeof lastMembership>>

export async function lastMembership(tx: Drizzle, deviceId: string) {
  const [row] = await tx
    .select({
      enrollmentId: enrollments.id,
      clusterId: enrollments.clusterId,
      datastore: clusters.datastoreKind,
      role: enrollments.role,
      hostname: enrollments.hostname,
      tokenId: enrollments.joinTokenId,
      tokenDeletedAt: enrollments.joinDeletedAt,
      redeemedAt: enrollments.redeemedAt,
    })
    .from(enrollments)
    .innerJoin(clusters, eq(clusters.id, enrollments.clusterId))
    .where(eq(enrollments.deviceId, deviceId))
    .orderBy(desc(enrollments.id))
    .limit(1)
  return row
}

/** Whether another server that lives was given the cluster's server token: with embedded etcd it holds the cluster too. */
export async function hasOtherServer(tx: Drizzle, clusterId: string, deviceId: string): Promise<boolean> {
  const rows = await tx
    .select({ id: enrollments.id })
    .from(enrollments)
    .where(
      and(
        eq(enrollments.clusterId, clusterId),
        eq(enrollments.role, 'server'),
        ne(enrollments.deviceId, deviceId),
        isNull(enrollments.endedAt),
        isNotNull(enrollments.redeemedAt),
      ),
    )
    .limit(1)
  return rows.length > 0
}

/**
 * Takes a cluster's turn to go first from a device that will not come: it is free if that one was never given the token to start with, else over,
 * and the gate decides who may follow.
 */
export async function endTurn(
  tx: Drizzle,
  clusterId: string,
  deviceId: string,
  at: Date,
  used: boolean,
): Promise<void> {
  const free = { initializerDeviceId: null, initializerUntil: null }
  const over = { initializerUntil: sql`least(${clusters.initializerUntil}, ${at.toISOString()}::timestamptz)` as never }
  await tx
    .update(clusters)
    .set({ ...(used ? over : free), version: sql`${clusters.version} + 1`, updatedAt: at })
    .where(and(eq(clusters.id, clusterId), eq(clusters.initializerDeviceId, deviceId)))
}

/** What a device that was revoked or retired has not lost yet. */
export type Unfinished = { deviceId: string; what: 'login' | 'token-delete' | 'node-delete' | 'node-ban' }

/** Of devices that are revoked or retired. */
export async function listUnfinished(db: Drizzle, deviceIds: readonly string[]): Promise<Unfinished[]> {
  if (deviceIds.length === 0) return []
  const rows = await db.execute(sql`
    select l.device_id as "deviceId", 'login' as what from ${datastoreLogins} l
    where l.device_id = any(${sql.param([...deviceIds])}::text[]) and l.fenced_at is null and l.dropped_at is null
    union all
    select e.device_id, t.verb from ${enrollments} e join ${tasks} t on t.cluster_id = e.cluster_id and t.done_at is null
      and t.enrollment_id = e.id
    where e.device_id = any(${sql.param([...deviceIds])}::text[]) and t.verb in ('token-delete', 'node-delete', 'node-ban')
    order by 1, 2`)
  return rows as unknown as Unfinished[]
}

/** Bans of a device's Nodes that no server has fetched yet are not carried out any more. */
export async function withdrawBans(tx: Drizzle, deviceId: string, at: Date): Promise<void> {
  await tx.execute(sql`
    update ${tasks} t set done_at = ${at.toISOString()}::timestamptz, result = 'superseded' from ${enrollments} e
    where e.device_id = ${deviceId} and t.cluster_id = e.cluster_id and t.enrollment_id = e.id and t.verb = 'node-ban'
      and t.done_at is null and t.sent_at is null`)
}

/** Bans of a device's Nodes that clusters carried out, or may have. */
export async function listBans(tx: Drizzle, deviceId: string): Promise<{ cluster: string; name: string }[]> {
  const rows = await tx.execute(sql`
    select distinct c.name as cluster, t.subject as name
    from ${enrollments} e join ${tasks} t on t.cluster_id = e.cluster_id and t.enrollment_id = e.id and t.verb = 'node-ban'
      join ${clusters} c on c.id = t.cluster_id
    where e.device_id = ${deviceId} and t.result is distinct from 'superseded' order by 1, 2`)
  return rows as unknown as { cluster: string; name: string }[]
}
