import { and, asc, eq, isNull, or, sql } from 'drizzle-orm'
import type { Upgrade, UpgradeNode } from '../k3s/upgrade.ts'
import { nodes } from './cluster-schema.ts'
import type { ClusterRow } from './clusters.ts'
import type { Drizzle } from './database.ts'
import { clusters } from './declared-schema.ts'
import { enrollments } from './schema.ts'

/** The upgrade that runs on a cluster, or ran last. Only services/upgrade-cluster.ts and follow-upgrades.ts write it. */
export const upgradeOf = (row: Pick<ClusterRow, 'upgrade'>): Upgrade | null => row.upgrade as Upgrade | null

/** The Nodes that a cluster shows, with the role that their enrollment gave them. */
export async function listUpgradeNodes(db: Drizzle, clusterId: string): Promise<UpgradeNode[]> {
  const rows = await db
    .select({ name: nodes.name, role: enrollments.role, version: nodes.version, ready: nodes.ready })
    .from(nodes)
    .leftJoin(enrollments, eq(enrollments.id, nodes.enrollmentId))
    .where(and(eq(nodes.clusterId, clusterId), isNull(nodes.goneAt)))
    .orderBy(asc(nodes.name))
  return rows as UpgradeNode[]
}

/** Clusters whose upgrade runs; few at any time. */
export async function listRunningUpgrades(db: Drizzle): Promise<string[]> {
  const rows = await db
    .select({ id: clusters.id })
    .from(clusters)
    .where(
      and(
        isNull(clusters.deletedAt),
        sql`${clusters.upgrade} is not null and not ${clusters.upgrade} ?| array['done_at', 'ended_at']`,
      ),
    )
  return rows.map(({ id }) => id)
}

/** Names of live clusters that run a version, or are being taken to it; at most 20. */
export async function listClustersOn(db: Drizzle, version: string): Promise<string[]> {
  const rows = await db
    .select({ name: clusters.name })
    .from(clusters)
    .where(
      and(
        isNull(clusters.deletedAt),
        or(eq(clusters.k3sVersion, version), sql`${clusters.upgrade} ->> 'to' = ${version}`),
      ),
    )
    .orderBy(asc(clusters.name))
    .limit(20)
  return rows.map(({ name }) => name)
}

/** One of them for who follows it; nothing if somebody else has it just now. */
export async function lockClusterById(tx: Drizzle, id: string): Promise<ClusterRow | undefined> {
  const rows = await tx
    .select()
    .from(clusters)
    .where(and(eq(clusters.id, id), isNull(clusters.deletedAt)))
    .for('update', { skipLocked: true })
  return rows[0]
}
