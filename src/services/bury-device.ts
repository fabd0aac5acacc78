import type { Datastore } from '../k3s/cluster.ts'
import { type Farewell, farewell } from '../k3s/farewell.ts'
import type { DeviceState } from '../roll/state.ts'
import { recordAudit } from '../store/audit.ts'
import type { NewDevice } from '../store/devices.ts'
import { emptyCluster } from '../store/empty-cluster.ts'
import { endTurn, hasOtherServer, lastMembership, type Membership } from '../store/memberships.ts'
import { date } from '../store/time.ts'
import { lockLiveEnrollment, markCompromised, redeemedClusters } from '../store/tombstones.ts'
import { place } from './cluster-view.ts'
import type { Command } from './command-device.ts'
import { endLiveEnrollment } from './end-enrollment.ts'
import { queueTask, type Task } from './queue-task.ts'

type End = 'revoked' | 'retired'

/**
 * Revokes or retires: the live enrollment and its secrets end in the same transaction, its cluster is told to forget it, and the serial stays as
 * a tombstone. What Postgres must do for it comes after the commit (end-access.ts).
 * @returns what changes of the device, and what its timeline says of the reach of it
 */
export async function buryDevice(
  command: Command,
  state: DeviceState,
): Promise<{ change: Partial<NewDevice>; detail: Farewell | undefined }> {
  const { context, tx, row } = command
  const end: End = state === 'revoked' ? 'revoked' : 'retired'
  const live = await lockLiveEnrollment(tx, row.id)
  if (live) await endLiveEnrollment(context, tx, live, end)
  const last = await lastMembership(tx, row.id)
  const emptied = await emptiedCluster(command, last)
  if (emptied !== undefined) await begin(command, emptied, end)
  if (end === 'revoked' && row.state !== 'revoked') await distrust(command, emptied)
  if (last && last.clusterId !== emptied) await leave(command, last, end)
  const change = {
    state,
    stateSince: date(context.now()),
    failure: null,
    assurance: null,
    reenrollGranted: false,
    mustRejoin: false,
    soleServerOf: null,
    armedUntil: null,
  }
  return { change, detail: last && words(last, end, last.clusterId === emptied) }
}

/** The cluster that was on this machine alone: the only one on SQLite, the last one of an embedded etcd. */
async function emptiedCluster({ tx, row }: Command, last: Membership): Promise<string | undefined> {
  if (row.soleServerOf !== null) return row.soleServerOf
  if (last?.datastore !== 'embedded-etcd' || last.role !== 'server' || last.redeemedAt === null) return undefined
  return (await hasOtherServer(tx, last.clusterId, row.id)) ? undefined : last.clusterId
}

async function begin({ context, tx }: Command, clusterId: string, end: End): Promise<void> {
  const text = Buffer.from(context.random(32)).toString('hex')
  const token = end === 'revoked' ? context.vault.seal(place.serverToken(clusterId), text) : undefined
  await emptyCluster(tx, clusterId, date(context.now()), token)
}

// Whoever once redeemed has the server token, and with it the CA keys (DESIGN.md, "K3s rules"); that its enrollment was
// replaced or ended since takes nothing from it. One that is only retired is still trusted.
async function distrust({ context, tx, row, actor }: Command, emptied: string | undefined): Promise<void> {
  for (const cluster of await redeemedClusters(tx, row.id)) {
    if (cluster === emptied) continue
    const name = await markCompromised(tx, cluster, date(context.now()))
    if (name === undefined) continue
    await recordAudit(tx, context.now(), actor, 'cluster.compromised', `cluster:${name}`, { device: row.serial })
  }
}

/** The servers that are left take its token and its Node out of the cluster, and keep a distrusted one from making the Node again. */
async function leave({ context, tx, row }: Command, last: NonNullable<Membership>, end: End): Promise<void> {
  const { clusterId, enrollmentId, hostname, tokenId } = last
  await endTurn(tx, clusterId, row.id, date(context.now()), last.redeemedAt !== null)
  const of = { clusterId, enrollmentId }
  const tasks: Task[] = [{ ...of, verb: 'node-delete', subject: hostname }]
  if (tokenId !== null && last.tokenDeletedAt === null) tasks.unshift({ ...of, verb: 'token-delete', subject: tokenId })
  if (end === 'revoked') tasks.push({ ...of, verb: 'node-ban', subject: hostname })
  await queueTask(context, tx, ...tasks)
}

const words = (last: NonNullable<Membership>, end: End, emptied: boolean): Farewell =>
  farewell({
    end,
    role: last.role === 'server' ? 'server' : 'agent',
    datastore: last.datastore as Datastore['kind'],
    redeemed: last.redeemedAt !== null,
    emptied,
  })
