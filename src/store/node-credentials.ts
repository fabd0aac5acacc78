import type { Sql } from 'postgres'

/** The server node that a credential belongs to. */
export type NodeHolder = { enrollmentId: string; deviceId: string; clusterId: string }

/**
 * Finds the live enrollment of a node credential. A machine is a server of its cluster from its redeem on, which takes its key: the document alone,
 * and a machine that the gate keeps waiting, get nothing of the cluster and have no say in it.
 * @param hash SHA-256, hex
 */
export async function findNode(sql: Sql, hash: string): Promise<NodeHolder | undefined> {
  const [row] = await sql<NodeHolder[]>`
    select id as "enrollmentId", device_id as "deviceId", cluster_id as "clusterId"
    from enrollments where node_hash = decode(${hash}, 'hex') and redeemed_at is not null and ended_at is null`
  return row
}
