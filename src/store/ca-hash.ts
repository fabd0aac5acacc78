import { and, eq, isNull, sql } from 'drizzle-orm'
import type { CaHashView } from '../k3s/ca-hash-verdict.ts'
import { type ClusterRow, updateCluster } from './clusters.ts'
import type { Drizzle } from './database.ts'
import { clusters } from './declared-schema.ts'

/** What judges a CA hash; undefined for a cluster that was taken off the roll. */
export async function selectCaHash(
  db: Drizzle,
  clusterId: string,
  lock = false,
): Promise<(CaHashView & { name: string }) | undefined> {
  const query = db
    .select({
      name: clusters.name,
      state: clusters.state,
      datastore: clusters.datastoreKind,
      bootstrap: clusters.bootstrap,
      caHash: clusters.caHash,
      caHashFrom: clusters.caHashFrom,
      confirmedAt: clusters.caHashConfirmedAt,
      initializer: clusters.initializerDeviceId,
      stuckReason: clusters.stuckReason,
    })
    .from(clusters)
    .where(and(eq(clusters.id, clusterId), isNull(clusters.deletedAt)))
  const [row] = await (lock ? query.for('update') : query)
  if (!row) return undefined
  const { confirmedAt, ...view } = row
  return { ...(view as CaHashView & { name: string }), confirmed: confirmedAt !== null }
}

/** Changes a cluster, and counts the change. */
export function changeClusterRow(tx: Drizzle, id: string, at: Date, set: Partial<ClusterRow>): Promise<ClusterRow> {
  return updateCluster(tx, id, { ...set, version: sql`${clusters.version} + 1` as never, updatedAt: at })
}
