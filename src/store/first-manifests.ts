import type { Sql } from 'postgres'

export type FirstRow = {
  id: string
  name: string
  rancher_sealed: Uint8Array
  rancher_manifest_sealed: Uint8Array | null
}

/**
 * Makes a device the one that is given a cluster's manifests: the first of its servers that asks, for ever.
 * @returns undefined if another one is, or the cluster has none
 */
export async function takeFirstManifests(sql: Sql, clusterId: string, deviceId: string): Promise<FirstRow | undefined> {
  const [row] = await sql<FirstRow[]>`
    update clusters set rancher_given_to = ${deviceId}
    where id = ${clusterId} and rancher_sealed is not null and (rancher_given_to is null or rancher_given_to = ${deviceId})
    returning id, name, rancher_sealed, rancher_manifest_sealed`
  return row
}

/** Keeps what was fetched, so that an answer that got lost is given again. */
export async function keepManifest(sql: Sql, clusterId: string, sealed: Uint8Array): Promise<void> {
  await sql`update clusters set rancher_manifest_sealed = ${sealed} where id = ${clusterId}`
}
