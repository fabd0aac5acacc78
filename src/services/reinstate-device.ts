import { type DeviceState, nextState } from '../roll/state.ts'
import { listBans, withdrawBans } from '../store/memberships.ts'
import { date } from '../store/time.ts'
import type { Command, Deed } from './command-device.ts'

/**
 * Brings a revoked or retired device back. A ban of its Node's name that no server fetched is withdrawn; one that may be in the cluster only an admin
 * can lift there, since a server of the cluster is never asked to let somebody in: the timeline says how.
 */
export async function reinstateDevice({ context, tx, row }: Command): Promise<Deed> {
  const at = date(context.now())
  const change = { state: nextState(row.state as DeviceState, 'reinstate'), stateSince: at, failure: null }
  await withdrawBans(tx, row.id, at)
  const bans = await listBans(tx, row.id)
  return bans.length === 0 ? { change } : { change, detail: { remains: bans.map(howToLift) } }
}

const howToLift = ({ cluster, name }: { cluster: string; name: string }) =>
  `cluster ${cluster} still bans Node ${name}: kubectl delete validatingadmissionpolicy,validatingadmissionpolicybinding rollcall-ban-${name}`
