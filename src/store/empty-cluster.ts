import { and, eq, isNull, sql } from 'drizzle-orm'
import { nodes, tasks } from './cluster-schema.ts'
import type { ClusterRow } from './clusters.ts'
import type { Drizzle } from './database.ts'
import { clusters } from './declared-schema.ts'

/** What a cluster is before its first server: nothing is known of it that was learnt. */
export const virgin = (at: Date): Partial<ClusterRow> => ({
  state: 'virgin',
  stateSince: at,
  stuckReason: null,
  caHash: null,
  caHashFrom: null,
  caHashConfirmedAt: null,
  initializerDeviceId: null,
  initializerUntil: null,
  bootstrap: null,
  observeTrouble: null,
  podsNotRunning: null,
  kubeconfigSealed: null,
  kubeconfigAt: null,
  // What the first server brings along, the next first one brings again.
  rancherGivenTo: null,
})

/**
 * A cluster whose servers are gone for good, and its datastore with them: the next server begins it anew, and agents must join again.
 * @param serverToken a new one, sealed, where the old one is no longer trusted
 */
export async function emptyCluster(
  tx: Drizzle,
  clusterId: string,
  at: Date,
  serverToken: Uint8Array | undefined,
): Promise<void> {
  await tx
    .update(clusters)
    .set({
      ...virgin(at),
      version: sql`${clusters.version} + 1`,
      updatedAt: at,
      ...(serverToken ? { serverTokenSealed: serverToken } : {}),
    })
    .where(eq(clusters.id, clusterId))
  await forgetCluster(tx, clusterId, at)
  await orphanAgents(tx, clusterId, 'all')
}

/** Nothing waits to be done by servers that are no more, and no Node is theirs. */
async function forgetCluster(tx: Drizzle, clusterId: string, at: Date): Promise<void> {
  await tx
    .update(tasks)
    .set({ doneAt: at, result: 'superseded', secretSealed: null })
    .where(and(eq(tasks.clusterId, clusterId), isNull(tasks.doneAt)))
  await tx.delete(nodes).where(eq(nodes.clusterId, clusterId))
}

/** The tokens of a cluster's agents are good for nothing any more; they must be given new ones. */
export async function orphanAgents(tx: Drizzle, clusterId: string, which: 'all' | 'not joined'): Promise<void> {
  const joined = which === 'all' ? sql`true` : sql`joined_at is null`
  await tx.execute(sql`
    with orphaned as (
      update enrollments set join_sealed = null
      where cluster_id = ${clusterId} and role = 'agent' and ended_at is null and ${joined} returning device_id
    )
    update devices d set must_rejoin = true, version = d.version + 1 from orphaned where d.id = orphaned.device_id`)
}
