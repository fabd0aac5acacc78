import { and, asc, eq, gt, inArray, isNull, type SQL, sql } from 'drizzle-orm'
import type { Drizzle } from './database.ts'
import { clusters, profiles } from './declared-schema.ts'
import { devices, enrollments, identities } from './schema.ts'

export type DeviceRow = typeof devices.$inferSelect
export type NewDevice = typeof devices.$inferInsert

export type DeviceFilter = {
  state?: string | undefined
  /** Name */
  cluster?: string | undefined
  /** Name */
  profile?: string | undefined
  /** Beginning of a serial, any case */
  q?: string | undefined
  /** Id after which the page begins */
  after?: string | undefined
  limit: number
}

/** One device with the names and the key that its page shows. */
export type DeviceDetail = Awaited<ReturnType<typeof details>>[number]

/** @param serialKey the serial in lower case */
export async function findDevice(db: Drizzle, serialKey: string): Promise<DeviceDetail | undefined> {
  const [row] = await details(db, eq(devices.serialKey, serialKey), 1)
  return row
}

/** In the order of their ids, which is that of their registration. */
export function listDevices(db: Drizzle, filter: DeviceFilter): Promise<DeviceDetail[]> {
  const { state, cluster, profile, q, after, limit } = filter
  const where = and(
    state === undefined ? undefined : eq(devices.state, state),
    cluster === undefined ? undefined : eq(devices.clusterId, named(db, clusters, cluster)),
    profile === undefined ? undefined : eq(devices.profileId, named(db, profiles, profile)),
    q === undefined ? undefined : sql`${devices.serialKey} like ${beginsWith(q.toLowerCase())}`,
    after === undefined ? undefined : gt(devices.id, after),
  )
  return details(db, where, limit)
}

/** Locks the row against claims and other admins until the transaction ends. */
export async function lockDevice(tx: Drizzle, serialKey: string): Promise<DeviceRow | undefined> {
  const [row] = await tx.select().from(devices).where(eq(devices.serialKey, serialKey)).for('update')
  return row
}

/** Locks several rows, in the one order in which everybody does. */
export async function lockDevices(tx: Drizzle, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return
  const rows = inArray(devices.id, [...ids])
  await tx.select({ id: devices.id }).from(devices).where(rows).orderBy(asc(devices.id)).for('update')
}

export async function insertDevice(tx: Drizzle, device: NewDevice): Promise<void> {
  await tx.insert(devices).values(device)
}

/** Every change counts the version up: it is the ETag, and a claim that read the device before moves nothing. */
export async function updateDevice(tx: Drizzle, id: string, at: Date, change: Partial<NewDevice>): Promise<void> {
  await tx
    .update(devices)
    .set({ ...change, version: sql`${devices.version} + 1`, updatedAt: at })
    .where(eq(devices.id, id))
}

/** Whether another device of the cluster, tombstones included, has the hostname. */
export async function isHostnameTaken(
  tx: Drizzle,
  clusterId: string,
  hostname: string,
  except?: string,
): Promise<boolean> {
  const [row] = await tx
    .select({ id: devices.id })
    .from(devices)
    .where(and(eq(devices.clusterId, clusterId), eq(devices.hostname, hostname)))
  return row !== undefined && row.id !== except
}

/** Whether the device ever enrolled: its hostname is then fixed. */
export async function hasEnrolled(tx: Drizzle, deviceId: string): Promise<boolean> {
  const [row] = await tx
    .select({ id: enrollments.id })
    .from(enrollments)
    .where(eq(enrollments.deviceId, deviceId))
    .limit(1)
  return row !== undefined
}

function details(db: Drizzle, where: SQL | undefined, limit: number) {
  return db
    .select({
      device: devices,
      profile: profiles.name,
      cluster: clusters.name,
      thumbprint: identities.thumbprint,
      jwk: identities.jwk,
    })
    .from(devices)
    .innerJoin(profiles, eq(profiles.id, devices.profileId))
    .leftJoin(clusters, eq(clusters.id, devices.clusterId))
    .leftJoin(identities, and(eq(identities.deviceId, devices.id), isNull(identities.endedAt)))
    .where(where)
    .orderBy(asc(devices.id))
    .limit(limit)
}

function named(db: Drizzle, table: typeof clusters | typeof profiles, name: string) {
  return db
    .select({ id: table.id })
    .from(table)
    .where(and(eq(table.name, name), isNull(table.deletedAt)))
}

const beginsWith = (text: string) => `${text.replace(/[\\%_]/g, '\\$&')}%`

/** A device's serial number, as entered, and why it fails. */
export async function findFailure(
  tx: Drizzle,
  deviceId: string,
): Promise<{ serial: string; failure: string | null } | undefined> {
  const { serial, failure } = devices
  return (await tx.select({ serial, failure }).from(devices).where(eq(devices.id, deviceId)))[0]
}

/** The serial number of a device, as entered. */
export async function findSerial(tx: Drizzle, deviceId: string): Promise<string | null> {
  const [row] = await tx.select({ serial: devices.serial }).from(devices).where(eq(devices.id, deviceId))
  return row?.serial ?? null
}
