import type { Sql } from 'postgres'

/** Whether a cluster keeps its kubeconfig with the roll. */
export async function escrowsKubeconfig(sql: Sql, clusterId: string): Promise<boolean> {
  const rows = await sql`select 1 from clusters where id = ${clusterId} and escrow_kubeconfig and deleted_at is null`
  return rows.length > 0
}

/**
 * Whether a cluster keeps its kubeconfig here and has none that is newer.
 * @param since Unix seconds
 */
export async function lacksKubeconfig(sql: Sql, clusterId: string, since: number): Promise<boolean> {
  const rows = await sql`
    select 1 from clusters where id = ${clusterId} and escrow_kubeconfig
      and (kubeconfig_sealed is null or kubeconfig_at < to_timestamp(${since}))`
  return rows.length > 0
}

/** @returns false if the cluster does not keep it any more */
export async function writeKubeconfig(sql: Sql, clusterId: string, sealed: Uint8Array, now: number): Promise<boolean> {
  const rows = await sql`
    update clusters set kubeconfig_sealed = ${sealed}, kubeconfig_at = to_timestamp(${now})
    where id = ${clusterId} and escrow_kubeconfig and deleted_at is null returning 1`
  return rows.length > 0
}
