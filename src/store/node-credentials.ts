import type { Sql } from 'postgres'

/** The server node that a credential belongs to; `redeemed`: the gate let it in. */
export type NodeHolder = { enrollmentId: string; deviceId: string; clusterId: string; redeemed: boolean }

/** Which enrollments `e` have a credential that is good: live ones, and of a compromised cluster only those that the gate had let in before. */
export const goodCredential = `e.ended_at is null and (e.redeemed_at is not null
  or not exists (select 1 from clusters c where c.id = e.cluster_id and c.state = 'compromised'))`

/**
 * Finds the enrollment of a node credential.
 * @param hash SHA-256, hex
 */
export async function findNode(sql: Sql, hash: string): Promise<NodeHolder | undefined> {
  const [row] = await sql<NodeHolder[]>`
    select e.id as "enrollmentId", e.device_id as "deviceId", e.cluster_id as "clusterId",
      e.redeemed_at is not null as redeemed
    from enrollments e where e.node_hash = decode(${hash}, 'hex') and ${sql.unsafe(goodCredential)}`
  return row
}
