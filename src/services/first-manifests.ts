import type { Rancher } from '../k3s/cluster.ts'
import { rancherManifests } from '../k3s/rancher.ts'
import { type FirstRow, keepManifest, takeFirstManifests } from '../store/first-manifests.ts'
import { place, rancherOf } from './cluster-view.ts'
import type { Context } from './context.ts'
import type { NodeHolder } from './node-credential.ts'
import { fetchImportManifest } from './rancher-client.ts'

type Deps = Pick<Context, 'sql' | 'vault'>

/**
 * What the first server of a cluster brings into it: manifests that hold credentials, so that no document carries them and one server alone gets them.
 * @returns YAML; undefined for every other server, and for one that the gate has not let in
 * @throws AppError `busy` while a Rancher has no manifest for it
 */
export async function firstManifests(
  deps: Deps,
  { clusterId, deviceId, redeemed }: NodeHolder,
): Promise<string | undefined> {
  if (!redeemed) return undefined
  const row = await takeFirstManifests(deps.sql, clusterId, deviceId)
  if (!row) return undefined
  const rancher = rancherOf(row.id, row.rancher_sealed, deps.vault)
  return rancher.install ? rancherManifests(rancher.install) : importManifest(deps, row, rancher)
}

async function importManifest({ sql, vault }: Deps, row: FirstRow, rancher: Rancher): Promise<string> {
  const sealed = row.rancher_manifest_sealed
  if (sealed) return vault.open(place.rancherManifest(row.id), sealed).toString()
  const text = await fetchImportManifest(rancher.import as NonNullable<Rancher['import']>, row.name)
  await keepManifest(sql, row.id, vault.seal(place.rancherManifest(row.id), text))
  return text
}
