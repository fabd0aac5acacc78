import { AppError } from '../errors.ts'
import { recordAudit } from '../store/audit.ts'
import { type ClusterRow, findCluster, updateCluster } from '../store/clusters.ts'
import type { Drizzle } from '../store/database.ts'
import { date } from '../store/time.ts'
import type { Actor, Precondition } from './actor.ts'
import { type ShownCluster, showCluster } from './cluster-view.ts'
import type { Context } from './context.ts'
import { rollTransaction } from './roll-transaction.ts'

export type ClusterRequest = { name: string; precondition: Precondition }

/** What a verb works on: the cluster's row, locked against the gate. */
export type ClusterCommand = { context: Context; tx: Drizzle; row: ClusterRow }

/** What a verb changes of a cluster, and what the audit says beside the state that it was in; never a secret. */
export type ClusterChange = { set: Partial<ClusterRow>; detail: Record<string, unknown> }

/**
 * Does what an admin says to a cluster. What is so already changes nothing and is no error.
 * @param work `undefined` = it is so already
 * @throws AppError `not_found`, `precondition_failed`, what the work throws
 */
export function commandCluster(
  context: Context,
  actor: Actor,
  request: ClusterRequest & { verb: string },
  work: (command: ClusterCommand) => Promise<ClusterChange | undefined>,
): Promise<ShownCluster> {
  const now = context.now()
  return rollTransaction(context, async (tx) => {
    const row = await findCluster(tx, request.name, 'update')
    if (!row) throw new AppError('not_found')
    request.precondition(row)
    const change = await work({ context, tx, row })
    if (!change) return showCluster(tx, row, now)
    const after = await updateCluster(tx, row.id, { ...change.set, version: row.version + 1, updatedAt: date(now) })
    const detail = { from: row.state, to: after.state, ...change.detail }
    await recordAudit(tx, now, actor, `cluster.${request.verb}`, `cluster:${row.name}`, detail)
    return showCluster(tx, after, now)
  })
}
