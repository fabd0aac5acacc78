import { AppError } from '../errors.ts'
import { serverToken } from '../k3s/tokens.ts'
import type { Drizzle } from '../store/database.ts'
import { lockDevices, updateDevice } from '../store/devices.ts'
import { emptyCluster } from '../store/empty-cluster.ts'
import { listLiveServers } from '../store/enrollments.ts'
import { date } from '../store/time.ts'
import { lockLiveEnrollment } from '../store/tombstones.ts'
import type { Actor } from './actor.ts'
import { place, type ShownCluster } from './cluster-view.ts'
import { type ClusterChange, type ClusterCommand, type ClusterRequest, commandCluster } from './command-cluster.ts'
import type { Context } from './context.ts'
import { emptyDatastore, isDatastoreEmpty } from './empty-datastore.ts'
import { endLiveEnrollment } from './end-enrollment.ts'

/** `force`: end the enrollments of its servers, and erase a managed datastore. */
export type Reset = { force?: boolean | undefined }

/**
 * Makes a cluster virgin: it gets a new server token, its servers' enrollments end, its agents must join again. A managed datastore is emptied with
 * it; another kind's the admin empties first, since K3s refuses to begin on the rows of another cluster.
 * @throws AppError `state_conflict` without `force`, if a server is enrolled or a managed datastore is not empty; `datastore_unavailable`
 */
export const resetCluster = (
  context: Context,
  actor: Actor,
  request: ClusterRequest,
  { force = false }: Reset,
): Promise<ShownCluster> =>
  commandCluster(context, actor, { ...request, verb: 'reset' }, (command) => reset(command, force))

async function reset(command: ClusterCommand, force: boolean): Promise<ClusterChange> {
  const { context, tx, row } = command
  if (row.accessSealed !== null)
    throw new AppError('state_conflict', { detail: 'Rollcall did not make the cluster, and cannot begin it anew' })
  const servers = await listLiveServers(tx, row.id)
  await lockDevices(
    tx,
    servers.map(({ deviceId }) => deviceId),
  )
  if (!force) await refuseHarm(command, servers.length)
  for (const { deviceId } of servers) await endServer(context, tx, deviceId)
  if (row.datastoreKind === 'managed') await emptyDatastore(context, row.id)
  const token = context.vault.seal(place.serverToken(row.id), serverToken(context.random))
  await emptyCluster(tx, row.id, date(context.now()), token)
  return { set: {}, detail: { servers_ended: servers.length, forced: force } }
}

async function refuseHarm({ context, row }: ClusterCommand, servers: number): Promise<void> {
  const harm = (detail: string) => new AppError('state_conflict', { detail })
  if (servers > 0)
    throw harm(`${servers} of its servers are enrolled: retire them first, or say force, which ends their enrollments`)
  if (row.datastoreKind === 'managed' && !(await isDatastoreEmpty(context, row)))
    throw harm('its datastore is not empty: say force, which erases it')
}

/** A server of a cluster that is no more is registered again: it may claim as on its first day. */
async function endServer(context: Context, tx: Drizzle, deviceId: string): Promise<void> {
  const at = date(context.now())
  const live = await lockLiveEnrollment(tx, deviceId)
  if (live) await endLiveEnrollment(context, tx, live, 'reset')
  const start = { assurance: null, failure: null, soleServerOf: null, mustRejoin: false }
  await updateDevice(tx, deviceId, at, { state: 'registered', stateSince: at, ...start })
}
