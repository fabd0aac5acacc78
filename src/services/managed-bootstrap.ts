import { TableHeld } from '../datastore/read-bootstrap.ts'
import { AppError } from '../errors.ts'
import type { BootstrapState } from '../k3s/gate.ts'
import { selectCaHash } from '../store/ca-hash.ts'
import { noteBootstrap } from '../store/gate.ts'
import { selectServerToken } from '../store/redeem.ts'
import { askManaged } from './ask-managed.ts'
import { place } from './cluster-view.ts'
import type { Context } from './context.ts'

/**
 * What the bootstrap row of a cluster is that is not up: read anew, since what was last seen of it may be some seconds old. Where the table was tampered with,
 * or is held so that nobody can read it, it counts as virgin: a server that did so must not keep its turn by talking.
 * @returns undefined where nothing can be said against what a server tells: the cluster is up, its datastore is not managed, or does not answer
 */
export async function bootstrapOfNew(context: Context, clusterId: string): Promise<BootstrapState | undefined> {
  const view = await selectCaHash(context.db, clusterId)
  if (view?.datastore !== 'managed' || view.bootstrap === 'ready') return undefined
  if (view.state !== 'virgin' && view.state !== 'initializing' && view.state !== 'stuck') return undefined
  try {
    const sealed = await selectServerToken(context.sql, clusterId)
    const token = context.vault.open(place.serverToken(clusterId), sealed).toString()
    const { state } = await askManaged(context, (managed) => managed.readBootstrap(clusterId, token))
    await noteBootstrap(context.sql, clusterId, state)
    return state
  } catch (error) {
    // The table is none that K3s makes, so nothing has begun there; the gate, or the observer, tells of it.
    if (error instanceof AppError && error.code === 'state_conflict') return 'virgin'
    // An honest server tells again in a moment, when the table can be read.
    if (error instanceof AppError && error.cause instanceof TableHeld) return 'virgin'
    context.log.debug({ err: { message: (error as Error).message }, cluster: clusterId }, 'no bootstrap row was read')
    return undefined
  }
}
