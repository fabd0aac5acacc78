import { newId } from '../ids.ts'
import type { ClusterSpec } from '../k3s/cluster.ts'
import { recordAudit } from '../store/audit.ts'
import { insertCluster } from '../store/clusters.ts'
import { date } from '../store/time.ts'
import type { Actor } from './actor.ts'
import { askManaged } from './ask-managed.ts'
import { checkCluster } from './check-cluster.ts'
import { checkManaged } from './check-managed.ts'
import { clusterBody, columnsOf, place, type ShownCluster, showCluster } from './cluster-view.ts'
import type { Context } from './context.ts'

/**
 * Declares a cluster and makes its server token. With a CA hash it counts as up: somebody else started it.
 * A managed datastore is ours, so there nobody else can have.
 * @throws AppError `invalid`, `already_exists` if a live cluster has this name, `datastore_unavailable`
 */
export async function createCluster(context: Context, actor: Actor, spec: ClusterSpec): Promise<ShownCluster> {
  const { vault, random } = context
  const now = context.now()
  const id = newId('clu', now, random(12))
  const serverToken = Buffer.from(random(32)).toString('hex')
  const isManaged = spec.datastore.kind === 'managed'
  if (isManaged) {
    await checkCluster(context, spec)
    await checkManaged(context, 1)
  }
  return context.db.transaction(async (tx) => {
    await checkCluster({ db: tx, managed: context.managed }, spec)
    const row = await insertCluster(tx, {
      id,
      ...columnsOf(id, spec, vault),
      serverTokenSealed: vault.seal(place.serverToken(id), serverToken),
      state: isUp(spec) ? 'up' : 'virgin',
      stateSince: date(now),
      caHashFrom: spec.ca_hash === undefined ? null : 'admin',
      createdAt: date(now),
      updatedAt: date(now),
    })
    const { datastore, version } = clusterBody(row)
    const { allow_unpinned, allow_weak_servers } = spec
    const detail = { version, datastore, allow_unpinned, allow_weak_servers }
    await recordAudit(tx, now, actor, 'cluster.create', `cluster:${spec.name}`, detail)
    // Last: should the row not be committed after all, an empty schema is left that no cluster has.
    if (isManaged) await askManaged(context, (managed) => managed.declare(id))
    return showCluster(tx, row, now)
  })
}

const isUp = ({ ca_hash, datastore }: ClusterSpec) => ca_hash !== undefined && datastore.kind !== 'managed'
