import type { PinnedKey } from '../identity/public-key.ts'
import { type DeviceState, nextState } from '../roll/state.ts'
import type { Drizzle } from '../store/database.ts'
import { type DeviceRow, updateDevice } from '../store/devices.ts'
import { endIdentity, liveIdentity, pinIdentity } from '../store/identities.ts'
import { date } from '../store/time.ts'
import { lockLiveEnrollment } from '../store/tombstones.ts'
import type { Context } from './context.ts'
import { endLiveEnrollment } from './end-enrollment.ts'
import { toPin } from './register-device.ts'

/**
 * Replaces the key of a device, or takes it away. An enrollment that has not joined ends with its secrets, since who holds the old
 * key is no longer this device; one that joined stays, and the new key enrols as the profile's policy allows.
 * @returns false if it is the same key
 * @throws 23505 `identities_live_thumbprint` when the key is another device's
 */
export async function rekeyDevice(
  context: Context,
  tx: Drizzle,
  row: DeviceRow,
  pin: PinnedKey | null,
): Promise<boolean> {
  const at = date(context.now())
  const old = await liveIdentity(tx, row.id)
  if (!pin && !old) return false
  if (pin && old?.thumbprint === pin.thumbprint && (old.jwk === null) === (pin.jwk === null)) return false
  await endIdentity(tx, row.id, at)
  if (pin) await pinIdentity(tx, row.id, at, toPin(pin))
  const isSameKey = old?.thumbprint === pin?.thumbprint
  await updateDevice(tx, row.id, at, isSameKey ? {} : await startOver(context, tx, row))
  return true
}

async function startOver(context: Context, tx: Drizzle, row: DeviceRow) {
  nextState(row.state as DeviceState, 'rekey')
  const live = await lockLiveEnrollment(tx, row.id)
  if (!live || live.joinedAt) return {}
  await endLiveEnrollment(context, tx, live, 'rekeyed')
  // One that a Node of its name had moved on was not there itself.
  return { state: 'registered', stateSince: date(context.now()), assurance: null, failure: null, soleServerOf: null }
}
