import { and, asc, desc, eq, isNotNull, isNull, lt, type SQL } from 'drizzle-orm'
import type { Drizzle } from './database.ts'
import { clusters, profiles } from './declared-schema.ts'
import { devices, enrollments } from './schema.ts'

// Named one by one, so that a sealed or hashed secret is never even read.
const shown = {
  id: enrollments.id,
  device: devices.serial,
  cluster: clusters.name,
  profile: profiles.name,
  profileRevision: enrollments.profileRevision,
  role: enrollments.role,
  hostname: enrollments.hostname,
  assurance: enrollments.assurance,
  createdAt: enrollments.createdAt,
  documentType: enrollments.documentType,
  documentDigest: enrollments.documentDigest,
  joinExpiresAt: enrollments.joinExpiresAt,
  redeemedAt: enrollments.redeemedAt,
  reportExpiresAt: enrollments.reportExpiresAt,
  lastStep: enrollments.lastStep,
  lastResult: enrollments.lastResult,
  lastDetail: enrollments.lastDetail,
  lastStepAt: enrollments.lastStepAt,
  appliedAt: enrollments.appliedAt,
  joinedAt: enrollments.joinedAt,
  readyAt: enrollments.readyAt,
  observed: enrollments.observed,
  endedAt: enrollments.endedAt,
  endReason: enrollments.endReason,
}

const select = (db: Drizzle) =>
  db
    .select(shown)
    .from(enrollments)
    .innerJoin(devices, eq(devices.id, enrollments.deviceId))
    .innerJoin(clusters, eq(clusters.id, enrollments.clusterId))
    .innerJoin(profiles, eq(profiles.id, enrollments.profileId))

export type EnrollmentRow = Awaited<ReturnType<typeof select>>[number]

export type EnrollmentFilter = {
  /** Serial in lower case */
  serialKey?: string | undefined
  /** Name of a live cluster */
  cluster?: string | undefined
  before?: string | undefined
  limit: number
}

/** Newest first. */
export function listEnrollments(db: Drizzle, filter: EnrollmentFilter): Promise<EnrollmentRow[]> {
  const conditions: (SQL | undefined)[] = [
    filter.serialKey === undefined ? undefined : eq(devices.serialKey, filter.serialKey),
    filter.cluster === undefined ? undefined : and(eq(clusters.name, filter.cluster), isNull(clusters.deletedAt)),
    filter.before === undefined ? undefined : lt(enrollments.id, filter.before),
  ]
  return select(db)
    .where(and(...conditions))
    .orderBy(desc(enrollments.id))
    .limit(filter.limit)
}

export async function findEnrollment(db: Drizzle, id: string): Promise<EnrollmentRow | undefined> {
  const rows = await select(db).where(eq(enrollments.id, id))
  return rows[0]
}

const liveServer = (clusterId: string) =>
  and(eq(enrollments.clusterId, clusterId), eq(enrollments.role, 'server'), isNull(enrollments.endedAt))

/** Whether a live server was seen in its cluster. */
export async function hasJoinedServer(db: Drizzle, clusterId: string): Promise<boolean> {
  const rows = await db
    .select({ id: enrollments.id })
    .from(enrollments)
    .where(and(liveServer(clusterId), isNotNull(enrollments.joinedAt), eq(enrollments.observed, true)))
    .limit(1)
  return rows.length > 0
}

/** The devices that are servers of a cluster now. */
export function listLiveServers(db: Drizzle, clusterId: string): Promise<{ deviceId: string; enrollmentId: string }[]> {
  return db
    .select({ deviceId: enrollments.deviceId, enrollmentId: enrollments.id })
    .from(enrollments)
    .where(liveServer(clusterId))
    .orderBy(asc(enrollments.deviceId))
}
