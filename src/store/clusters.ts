import { and, asc, count, desc, eq, gt, isNotNull, isNull, notInArray, sql } from 'drizzle-orm'
import type { Drizzle } from './database.ts'
import { clusters, profileRevisions, profiles } from './declared-schema.ts'
import { devices, enrollments } from './schema.ts'

export type ClusterRow = typeof clusters.$inferSelect
export type NewCluster = typeof clusters.$inferInsert

/** A row is locked `share` by what comes to hang on it, `update` by what changes or ends it. */
export type Lock = 'share' | 'update'

export async function findCluster(db: Drizzle, name: string, lock?: Lock): Promise<ClusterRow | undefined> {
  const query = db
    .select()
    .from(clusters)
    .where(and(eq(clusters.name, name), isNull(clusters.deletedAt)))
  const rows = await (lock ? query.for(lock) : query)
  return rows[0]
}

/** Live clusters in the order of their making. */
export function listClusters(db: Drizzle, page: { after?: string | undefined; limit: number }): Promise<ClusterRow[]> {
  return db
    .select()
    .from(clusters)
    .where(and(isNull(clusters.deletedAt), page.after === undefined ? undefined : gt(clusters.id, page.after)))
    .orderBy(asc(clusters.id))
    .limit(page.limit)
}

export async function insertCluster(tx: Drizzle, row: NewCluster): Promise<ClusterRow> {
  const rows = await tx.insert(clusters).values(row).returning()
  return rows[0] as ClusterRow
}

export async function updateCluster(tx: Drizzle, id: string, set: Partial<NewCluster>): Promise<ClusterRow> {
  const rows = await tx.update(clusters).set(set).where(eq(clusters.id, id)).returning()
  return rows[0] as ClusterRow
}

/** States in which a device is a tombstone. */
const ended = ['revoked', 'retired']

/** How many devices hang on a cluster, tombstones aside; counts up to `most`. */
export async function countClusterDevices(db: Drizzle, clusterId: string, most: number): Promise<number> {
  const rows = await db
    .select({ id: devices.id })
    .from(devices)
    .where(and(eq(devices.clusterId, clusterId), notInArray(devices.state, ended)))
    .limit(most)
  return rows.length
}

/** How many servers a cluster has, as far as their enrollments say. */
export async function countServers(db: Drizzle, clusterId: string): Promise<number> {
  return db.$count(
    enrollments,
    and(eq(enrollments.clusterId, clusterId), eq(enrollments.role, 'server'), isNull(enrollments.endedAt)),
  )
}

/** Devices on the roll that are servers of managed clusters, enrolled or not. */
export async function countManagedServers(db: Drizzle): Promise<number> {
  const [row] = await db
    .select({ n: count() })
    .from(devices)
    .innerJoin(clusters, eq(clusters.id, devices.clusterId))
    .innerJoin(profiles, eq(profiles.id, devices.profileId))
    .innerJoin(
      profileRevisions,
      and(eq(profileRevisions.profileId, profiles.id), eq(profileRevisions.revision, profiles.revision)),
    )
    .where(
      and(
        eq(clusters.datastoreKind, 'managed'),
        isNull(clusters.deletedAt),
        notInArray(devices.state, ended),
        sql`coalesce(${devices.role}, ${profileRevisions.spec} ->> 'role') = 'server'`,
      ),
    )
  return row?.n ?? 0
}

/** Deleted clusters of a name whose rows may still be in the managed datastore, the last one first. */
export function findBuriedManaged(db: Drizzle, name: string): Promise<ClusterRow[]> {
  return db
    .select()
    .from(clusters)
    .where(and(eq(clusters.name, name), isNotNull(clusters.deletedAt), eq(clusters.datastoreKind, 'managed')))
    .orderBy(desc(clusters.deletedAt), desc(clusters.id))
}

/** Whether a device of the cluster has a live enrollment. */
export async function hasLiveEnrollment(db: Drizzle, clusterId: string): Promise<boolean> {
  const rows = await db
    .select({ id: enrollments.id })
    .from(enrollments)
    .where(and(eq(enrollments.clusterId, clusterId), isNull(enrollments.endedAt)))
    .limit(1)
  return rows.length > 0
}

/** The names of a cluster's enrolled servers, in their order. There may be thousands of agents beside them. */
export async function listServers(db: Drizzle, clusterId: string, limit: number): Promise<string[]> {
  const rows = await db
    .select({ name: enrollments.hostname })
    .from(enrollments)
    .where(and(eq(enrollments.clusterId, clusterId), eq(enrollments.role, 'server'), isNull(enrollments.endedAt)))
    .orderBy(asc(enrollments.hostname))
    .limit(limit)
  return rows.map(({ name }) => name)
}
