import type { DeviceState } from '../roll/state.ts'
import { recordAudit } from '../store/audit.ts'
import type { NewDevice } from '../store/devices.ts'
import { emptyCluster } from '../store/empty-cluster.ts'
import { date } from '../store/time.ts'
import { lockLiveEnrollment, markCompromised, redeemedClusters } from '../store/tombstones.ts'
import type { Command } from './command-device.ts'
import { endLiveEnrollment } from './end-enrollment.ts'

/**
 * Revokes or retires: the live enrollment and its secrets end in the same transaction, and the serial stays as a tombstone.
 * @returns what changes of the device
 */
export async function buryDevice(command: Command, state: DeviceState): Promise<Partial<NewDevice>> {
  const { context, tx, row } = command
  const live = await lockLiveEnrollment(tx, row.id)
  if (live) await endLiveEnrollment(context, tx, live, state === 'revoked' ? 'revoked' : 'retired')
  await settleClusters(command, state)
  return {
    state,
    stateSince: date(context.now()),
    failure: null,
    assurance: null,
    reenrollGranted: false,
    mustRejoin: false,
    soleServerOf: null,
    armedUntil: null,
  }
}

/** What becomes of the clusters that the device was a server of. */
async function settleClusters(command: Command, state: DeviceState): Promise<void> {
  const { context, tx, row } = command
  const at = date(context.now())
  if (row.soleServerOf !== null) {
    const token = state === 'revoked' ? newServerToken(command, row.soleServerOf) : undefined
    await emptyCluster(tx, row.soleServerOf, at, token)
  }
  if (state !== 'revoked' || row.state === 'revoked') return
  // Whoever once redeemed has the server token, and with it the CA keys (DESIGN.md, "K3s rules"); that its enrollment was
  // replaced or ended since takes nothing from it. One that is only retired is still trusted.
  for (const cluster of await redeemedClusters(tx, row.id)) {
    if (cluster === row.soleServerOf) continue
    const name = await markCompromised(tx, cluster, at)
    if (name === undefined) continue
    await recordAudit(tx, context.now(), command.actor, 'cluster.compromised', `cluster:${name}`, {
      device: row.serial,
    })
  }
}

function newServerToken({ context }: Command, clusterId: string): Uint8Array {
  return context.vault.seal(`clusters/${clusterId}/server_token`, Buffer.from(context.random(32)).toString('hex'))
}
