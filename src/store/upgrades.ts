import { and, asc, eq, isNull, or, sql } from 'drizzle-orm'
import type { Upgrade, UpgradeNode } from '../k3s/upgrade.ts'
import type { ClusterRow } from './clusters.ts'
import type { Drizzle } from './database.ts'
import { clusters } from './declared-schema.ts'

/** The upgrade that runs on a cluster, or ran last. Only services/upgrade-cluster.ts and follow-upgrades.ts write it. */
export const upgradeOf = (row: Pick<ClusterRow, 'upgrade'>): Upgrade | null => row.upgrade as Upgrade | null

/**
 * The Nodes that a cluster shows, with the role that their enrollment gave them, and whether it had K3s run in a container, by the device's variables as they
 * are now. A profile's template may be large: its revision is looked into once, not once a Node.
 */
export async function listUpgradeNodes(db: Drizzle, clusterId: string): Promise<UpgradeNode[]> {
  const rows = await db.execute(sql`
    with shown as materialized (
      select n.name, n.version, n.ready, e.role, e.device_id, e.profile_id, e.profile_revision
      from nodes n left join enrollments e on e.id = n.enrollment_id
      where n.cluster_id = ${clusterId} and n.gone_at is null
    ), revisions as materialized (
      select profile_id, revision, spec -> 'vars' ->> 'runtime' as runtime from profile_revisions
      where (profile_id, revision) in (select profile_id, profile_revision from shown)
    )
    select s.name, s.role, s.version, s.ready, coalesce(d.vars ->> 'runtime', r.runtime, 'host') = 'container' as "inContainer"
    from shown s left join devices d on d.id = s.device_id
      left join revisions r on r.profile_id = s.profile_id and r.revision = s.profile_revision
    order by s.name`)
  return rows as unknown as UpgradeNode[]
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
