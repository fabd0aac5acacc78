import { AppError } from '../errors.ts'
import { recordAudit } from '../store/audit.ts'
import { countClusterDevices, findCluster, updateCluster } from '../store/clusters.ts'
import { date } from '../store/time.ts'
import type { Actor, Precondition } from './actor.ts'
import type { Context } from './context.ts'

/** Takes a cluster off the roll; its row stays for what refers to it. @throws AppError `state_conflict` while devices are on it */
export function deleteCluster(
  context: Pick<Context, 'db' | 'now'>,
  actor: Actor,
  name: string,
  precondition: Precondition,
): Promise<void> {
  const now = context.now()
  return context.db.transaction(async (tx) => {
    const row = await findCluster(tx, name, 'update')
    if (!row) throw new AppError('not_found')
    precondition(row)
    if ((await countClusterDevices(tx, row.id, 1)) > 0) {
      throw new AppError('state_conflict', { detail: 'devices are on this cluster: retire or move them first' })
    }
    // The key to a cluster that goes on without the roll.
    const ended = { accessSealed: null, deletedAt: date(now), updatedAt: date(now) }
    await updateCluster(tx, row.id, { ...ended, version: row.version + 1 })
    await recordAudit(tx, now, actor, 'cluster.delete', `cluster:${name}`, { id: row.id })
  })
}
