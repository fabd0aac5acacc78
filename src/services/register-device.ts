import { AppError } from '../errors.ts'
import { identityFromInput, type PinnedKey } from '../identity/public-key.ts'
import { newId } from '../ids.ts'
import { type DeviceInput, normaliseMac } from '../roll/device-input.ts'
import { lowers, placementErrors } from '../roll/placement.ts'
import { parseSerial } from '../roll/serial.ts'
import { type DeviceState, isTombstone } from '../roll/state.ts'
import { recordAudit } from '../store/audit.ts'
import type { Drizzle } from '../store/database.ts'
import { insertDevice, lockDevice } from '../store/devices.ts'
import { recordEvent } from '../store/events.ts'
import { pinIdentity } from '../store/identities.ts'
import { date } from '../store/time.ts'
import type { Actor } from './actor.ts'
import { chooseHostname } from './choose-hostname.ts'
import type { Context } from './context.ts'
import type { ShownDevice } from './device-view.ts'
import { refuse } from './invalid.ts'
import { findPlace } from './place-device.ts'
import { readByKey } from './read-devices.ts'
import { rollTransaction } from './roll-transaction.ts'

/**
 * Puts a device on the roll.
 * @param demandAdmin called when the device is to prove less than its profile asks; throws `forbidden` for who may not say so
 * @throws AppError `invalid`, `forbidden`; `already_exists` for a serial, given hostname or key that is taken; `state_conflict` for a serial
 *   that was revoked or retired: only `reinstate` brings it back
 */
export function registerDevice(
  context: Context,
  actor: Actor,
  input: DeviceInput,
  demandAdmin: () => void,
): Promise<ShownDevice> {
  const { serial, serialKey } = parseSerial(input.serial)
  const pin = input.identity && identityFromInput(input.identity)
  const now = context.now()
  return rollTransaction(context, async (tx) => {
    refuseKnown(await lockDevice(tx, serialKey))
    const id = newId('dev', now, context.random(12))
    const row = await toRow(tx, { id, now, demandAdmin }, { ...input, serial })
    await insertDevice(tx, row)
    if (pin) await pinIdentity(tx, id, date(now), toPin(pin))
    const detail = { by: actor.name, profile: input.profile, cluster: input.cluster ?? null, hostname: row.hostname }
    await recordEvent(tx, { deviceId: id, at: date(now), source: 'admin', name: 'registered', detail })
    await recordAudit(tx, now, actor, 'device.create', `device:${serial}`, detail)
    return readByKey(tx, serialKey, now)
  })
}

/** As the store keeps a key. */
export function toPin({ thumbprint, jwk }: PinnedKey) {
  return { thumbprint, jwk: jwk && { ...jwk } }
}

function refuseKnown(known: { state: string } | undefined): void {
  if (!known) return
  if (!isTombstone(known.state as DeviceState))
    throw new AppError('already_exists', { detail: 'the serial is on the roll' })
  throw new AppError('state_conflict', { detail: `the serial is on the roll as ${known.state}: reinstate it instead` })
}

type Entry = { id: string; now: number; demandAdmin: () => void }

async function toRow(tx: Drizzle, { id, now, demandAdmin }: Entry, input: DeviceInput) {
  const place = await findPlace(tx, { profile: input.profile, cluster: input.cluster ?? null })
  const { profile, cluster } = place
  const minAssurance = input.min_assurance ?? null
  const role = input.role ?? profile.role
  const placement = { role, minAssurance, profileMinimum: profile.minAssurance, cluster }
  refuse(placementErrors(placement))
  if (lowers({ ...placement, minAssurance: null }, placement)) demandAdmin()
  const { serial, hostname: given } = input
  const hostname = cluster ? await chooseHostname(tx, { clusterId: cluster.id, serial, given }) : (given ?? null)
  return {
    id,
    serial,
    serialKey: serial.toLowerCase(),
    profileId: profile.id,
    clusterId: cluster?.id ?? null,
    role: input.role ?? null,
    hostname,
    hostnameGiven: given !== undefined,
    uuid: input.uuid?.toLowerCase() ?? null,
    note: input.note ?? '',
    labels: input.labels ?? {},
    vars: input.vars ?? {},
    macs: (input.macs ?? []).map(normaliseMac),
    minAssurance,
    stateSince: date(now),
    createdAt: date(now),
    updatedAt: date(now),
  }
}
