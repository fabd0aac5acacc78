import type { ClusterRow } from '../store/clusters.ts'
import { askManaged } from './ask-managed.ts'
import { place } from './cluster-view.ts'
import type { Context } from './context.ts'
import { dropClusterLogins } from './end-logins.ts'

/**
 * Erases the rows of a managed cluster; its servers' logins end first, so that none writes into what comes after.
 * @throws AppError `datastore_unavailable`; nothing is lost by doing it again
 */
export async function emptyDatastore(context: Context, clusterId: string): Promise<void> {
  await askManaged(context, () => dropClusterLogins(context, clusterId))
  await askManaged(context, (managed) => managed.purge(clusterId))
  await askManaged(context, (managed) => managed.declare(clusterId))
}

/** Whether no server of a managed cluster has begun it. @throws AppError `datastore_unavailable` */
export async function isDatastoreEmpty(context: Context, { id, serverTokenSealed }: ClusterRow): Promise<boolean> {
  const token = context.vault.open(place.serverToken(id), serverTokenSealed).toString()
  const row = await askManaged(context, (managed) => managed.readBootstrap(id, token))
  return row.state === 'virgin'
}
