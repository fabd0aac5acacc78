import { AppError } from '../errors.ts'
import { recordAudit } from '../store/audit.ts'
import { type ClusterRow, findBuriedManaged, findCluster, updateCluster } from '../store/clusters.ts'
import { date } from '../store/time.ts'
import type { Actor } from './actor.ts'
import { askManaged } from './ask-managed.ts'
import { type ShownCluster, showCluster } from './cluster-view.ts'
import type { Context } from './context.ts'
import { dropClusterLogins } from './end-logins.ts'

/**
 * Erases what deleted clusters of this name left in the managed datastore: their logins, their rows, their schemas. For good. A name that was deleted several times is
 * purged of all of them; one that is purged already stays so.
 * @returns the one that was deleted last
 * @throws AppError `not_found`, `state_conflict` while a cluster of this name is on the roll, `datastore_unavailable`: what is left is purged by the next call
 */
export async function purgeCluster(context: Context, actor: Actor, name: string): Promise<ShownCluster> {
  const { db, now } = context
  if (await findCluster(db, name))
    throw new AppError('state_conflict', { detail: 'a cluster of this name is on the roll: delete it first' })
  const [last, ...before] = await findBuriedManaged(db, name)
  if (!last) throw new AppError('not_found')
  for (const row of before) await purge(context, actor, row)
  return showCluster(db, await purge(context, actor, last), now())
}

async function purge(context: Context, actor: Actor, row: ClusterRow): Promise<ClusterRow> {
  if (row.purgedAt) return row
  await dropClusterLogins(context, row.id)
  await askManaged(context, (managed) => managed.purge(row.id))
  const now = context.now()
  return context.db.transaction(async (tx) => {
    const set = { purgedAt: date(now), updatedAt: date(now), version: row.version + 1 }
    const after = await updateCluster(tx, row.id, set)
    await recordAudit(tx, now, actor, 'cluster.purge', `cluster:${row.name}`, { id: row.id })
    return after
  })
}
