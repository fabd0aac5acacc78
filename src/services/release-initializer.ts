import { AppError } from '../errors.ts'
import { isDispute } from '../k3s/ca-hash-verdict.ts'
import { findSerial } from '../store/devices.ts'
import { date } from '../store/time.ts'
import type { Actor } from './actor.ts'
import type { ShownCluster } from './cluster-view.ts'
import { type ClusterChange, type ClusterCommand, type ClusterRequest, commandCluster } from './command-cluster.ts'
import type { Context } from './context.ts'

/**
 * Takes the turn from the server that goes first, and ends what a cluster is stuck at before it came up: the next one that asks goes first.
 * The admin says by it that the former one writes no more; a managed datastore is fenced all the same.
 * @throws AppError `state_conflict` for a cluster that came up, and one that another verb must end
 */
export const releaseInitializer = (context: Context, actor: Actor, request: ClusterRequest): Promise<ShownCluster> =>
  commandCluster(context, actor, { ...request, verb: 'release-initializer' }, release)

async function release({ context, tx, row }: ClusterCommand): Promise<ClusterChange | undefined> {
  if (row.state === 'up' || row.state === 'compromised')
    throw new AppError('state_conflict', { detail: `a cluster that is ${row.state} has no server that goes first` })
  if (isDispute(row.stuckReason))
    throw new AppError('state_conflict', { detail: 'two CA hashes were said: say which is true (verb rotated)' })
  const holder = row.initializerDeviceId
  if (row.state === 'virgin' && holder === null) return undefined
  const said = row.caHashFrom !== null && row.caHashFrom === holder ? { caHash: null, caHashFrom: null } : {}
  const turn = { initializerDeviceId: null, initializerUntil: null, stuckReason: null }
  return {
    set: { state: 'virgin', stateSince: date(context.now()), ...turn, ...said },
    detail: { released: holder === null ? null : await findSerial(tx, holder) },
  }
}
