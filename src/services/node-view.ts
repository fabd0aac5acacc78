import { AppError } from '../errors.ts'
import { findCluster } from '../store/clusters.ts'
import { listShownNodes, type NodeOfRow, type ShownNodeRow } from '../store/node-view.ts'
import type { Context } from './context.ts'

/** A Node as admins see it; times are Unix seconds, rounded down. */
export type ClusterNode = ReturnType<typeof shownNode>

export function shownNode(row: ShownNodeRow) {
  return {
    name: row.name,
    serial: row.serial,
    role: row.role,
    state: row.state,
    observed: row.observed,
    stranger: row.serial === null,
    enrolled: row.enrolled,
    node: row.seen ? shownSight(row) : null,
  }
}

/** What the cluster shows of a Node. */
export function shownSight(row: NodeOfRow) {
  return {
    ready: row.ready,
    since: row.readySince === null ? null : Math.floor(row.readySince),
    version: row.version,
    source: row.source as NonNullable<typeof row.source>,
    seen_at: Math.floor(row.seenAt as number),
    gone_at: row.goneAt === null ? null : Math.floor(row.goneAt),
  }
}

/**
 * A page of a cluster's Nodes and enrolled devices, by name.
 * @throws AppError `not_found`
 */
export async function readNodes(
  { db }: Pick<Context, 'db'>,
  cluster: string,
  page: { after?: string | undefined; limit: number },
): Promise<ClusterNode[]> {
  const row = await findCluster(db, cluster)
  if (!row) throw new AppError('not_found')
  return (await listShownNodes(db, row.id, page)).map(shownNode)
}
