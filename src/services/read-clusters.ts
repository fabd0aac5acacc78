import { AppError } from '../errors.ts'
import { findCluster, listClusters } from '../store/clusters.ts'
import { type ClusterBody, clusterBody, type ShownCluster, showCluster } from './cluster-view.ts'
import type { Context } from './context.ts'

/** @throws AppError `not_found` */
export async function readCluster({ db, now }: Context, name: string): Promise<ShownCluster> {
  const row = await findCluster(db, name)
  if (!row) throw new AppError('not_found')
  return showCluster(db, row, now())
}

/** Without their nodes. */
export async function readClusters(
  { db }: Context,
  page: { after?: string | undefined; limit: number },
): Promise<ClusterBody[]> {
  return (await listClusters(db, page)).map(clusterBody)
}
