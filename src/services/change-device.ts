import { isDeepStrictEqual } from 'node:util'
import { AppError } from '../errors.ts'
import { identityFromInput } from '../identity/public-key.ts'
import { type DevicePatch, Labels, normaliseMac, Vars } from '../roll/device-input.ts'
import { lowers, type Placement, placementErrors } from '../roll/placement.ts'
import { type DeviceState, isTombstone } from '../roll/state.ts'
import { recordAudit } from '../store/audit.ts'
import type { Drizzle } from '../store/database.ts'
import { type DeviceRow, hasEnrolled, lockDevice, type NewDevice, updateDevice } from '../store/devices.ts'
import { recordEvent } from '../store/events.ts'
import { placementClusters, placementProfiles } from '../store/placements.ts'
import { date } from '../store/time.ts'
import { lockLiveEnrollment } from '../store/tombstones.ts'
import type { Actor, Precondition } from './actor.ts'
import { chooseHostname } from './choose-hostname.ts'
import type { Context } from './context.ts'
import type { ShownDevice } from './device-view.ts'
import { parse, refuse } from './invalid.ts'
import { mergePatch } from './merge-patch.ts'
import { findPlace, type Place } from './place-device.ts'
import { keyOf, readByKey } from './read-devices.ts'
import { rekeyDevice } from './rekey-device.ts'
import { rollTransaction } from './roll-transaction.ts'

export type ChangeRequest = {
  serial: string
  patch: DevicePatch
  precondition: Precondition
  /** Called when the change lets the device prove less than before; throws `forbidden` for who may not. */
  demandAdmin: () => void
}

/**
 * Changes what the roll says of a device. What is not given stays; what is the same changes nothing.
 * @throws AppError `not_found`, `precondition_failed`, `invalid`, `forbidden`, `already_exists`; `state_conflict` for a tombstone,
 *   a hostname after the first enrollment, and a cluster or role under a live enrollment
 */
export function changeDevice(context: Context, actor: Actor, request: ChangeRequest): Promise<ShownDevice> {
  const serialKey = keyOf(request.serial)
  const { identity } = request.patch
  const pin = identity && identityFromInput(identity)
  const now = context.now()
  return rollTransaction(context, async (tx) => {
    const row = await lockDevice(tx, serialKey)
    if (!row) throw new AppError('not_found')
    request.precondition(row)
    if (isTombstone(row.state as DeviceState)) {
      throw new AppError('state_conflict', { detail: `the device is ${row.state}: reinstate it first` })
    }
    const change = { ...(await placed(tx, row, request)), ...plain(row, request.patch) }
    const different = differences(row, change)
    if (different.length > 0) await updateDevice(tx, row.id, date(now), change)
    const rekeyed = identity !== undefined && (await rekeyDevice(context, tx, row, pin ?? null))
    await note(tx, { now, actor, row, changed: rekeyed ? [...different, 'identity'] : different })
    return readByKey(tx, serialKey, now)
  })
}

type Note = { now: number; actor: Actor; row: DeviceRow; changed: readonly string[] }

// Names only: a variable may hold what its admin would not like to read in a log.
async function note(tx: Drizzle, { now, actor, row, changed }: Note): Promise<void> {
  if (changed.length === 0) return
  const detail = { by: actor.name, changed }
  await recordEvent(tx, { deviceId: row.id, at: date(now), source: 'admin', name: 'changed', detail })
  await recordAudit(tx, now, actor, 'device.update', `device:${row.serial}`, { changed })
}

/** Members that stand alone. */
function plain(row: DeviceRow, patch: DevicePatch): Partial<NewDevice> {
  const { labels, vars, macs, uuid, note: text } = patch
  return {
    ...(labels === undefined ? {} : { labels: parse(Labels, mergePatch(row.labels, labels)) }),
    ...(vars === undefined ? {} : { vars: parse(Vars, mergePatch(row.vars, vars)) }),
    ...(macs === undefined ? {} : { macs: macs.map(normaliseMac) }),
    ...(uuid === undefined ? {} : { uuid: uuid?.toLowerCase() ?? null }),
    ...(text === undefined ? {} : { note: text }),
  }
}

/** Members that hang together: where the device goes, under what name, and how it must prove itself. */
async function placed(tx: Drizzle, row: DeviceRow, request: ChangeRequest): Promise<Partial<NewDevice>> {
  const { patch } = request
  const before = await presentPlace(tx, row)
  const names = { profile: patch.profile ?? before.profile.name, cluster: before.cluster?.name ?? null }
  if (patch.cluster !== undefined) names.cluster = patch.cluster
  const moves = names.profile !== before.profile.name || names.cluster !== (before.cluster?.name ?? null)
  const after = moves ? await findPlace(tx, names) : before
  const was = placement(row, before)
  const own = {
    role: patch.role === undefined ? row.role : patch.role,
    minAssurance: patch.min_assurance === undefined ? row.minAssurance : patch.min_assurance,
  }
  const will = placement(own, after)
  if (!isDeepStrictEqual(was, will)) refuse(placementErrors(will))
  if (lowers(was, will)) request.demandAdmin()
  await refuseUnderway(tx, row, before.cluster?.id !== after.cluster?.id || was.role !== will.role)
  const named = await renamed(tx, row, after.cluster?.id ?? null, patch.hostname)
  return { profileId: after.profile.id, clusterId: after.cluster?.id ?? null, ...own, ...named }
}

function placement(own: Pick<DeviceRow, 'role' | 'minAssurance'>, { profile, cluster }: Place): Placement {
  return {
    role: (own.role ?? profile.role) as Placement['role'],
    minAssurance: own.minAssurance as Placement['minAssurance'],
    profileMinimum: profile.minAssurance,
    cluster,
  }
}

async function presentPlace(tx: Drizzle, row: DeviceRow): Promise<Place> {
  const [profile] = await placementProfiles(tx, { ids: [row.profileId] })
  const [cluster] = row.clusterId === null ? [] : await placementClusters(tx, { ids: [row.clusterId] })
  if (!profile) throw new Error(`device ${row.id} has no profile`)
  return { profile, cluster: cluster ?? null }
}

async function refuseUnderway(tx: Drizzle, row: DeviceRow, moves: boolean): Promise<void> {
  if (!moves || !(await lockLiveEnrollment(tx, row.id))) return
  const detail = 'the device is enrolled: retire and reinstate it before it goes to another cluster or role'
  throw new AppError('state_conflict', { detail })
}

/** The name that the device will have; `wish` null = made from the serial, undefined = as before. */
async function renamed(tx: Drizzle, row: DeviceRow, clusterId: string | null, wish: string | null | undefined) {
  const stays = wish === undefined || wish === row.hostname
  if (stays && clusterId === row.clusterId) return wish ? { hostnameGiven: true } : {}
  const fixed = await hasEnrolled(tx, row.id)
  const given = fixed || row.hostnameGiven ? (row.hostname ?? undefined) : undefined
  const wanted = wish === undefined ? given : (wish ?? undefined)
  const hostname = clusterId
    ? await chooseHostname(tx, { clusterId, serial: row.serial, given: wanted, deviceId: row.id })
    : (wanted ?? null)
  if (fixed && hostname !== row.hostname) {
    throw new AppError('state_conflict', { detail: 'the hostname is fixed since the first enrollment' })
  }
  return { hostname, hostnameGiven: wish === undefined ? row.hostnameGiven : wish !== null }
}

/** Members whose value changes, by their JSON names. */
function differences(row: DeviceRow, change: Partial<NewDevice>): string[] {
  const keys = Object.keys(change) as (keyof DeviceRow & keyof NewDevice)[]
  return keys.filter((key) => !isDeepStrictEqual(row[key], change[key])).map((key) => jsonName[key] ?? key)
}

const jsonName: Partial<Record<keyof DeviceRow, string>> = {
  profileId: 'profile',
  clusterId: 'cluster',
  minAssurance: 'min_assurance',
  hostnameGiven: 'hostname_given',
}
