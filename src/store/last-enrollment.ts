import { desc, eq, inArray, sql } from 'drizzle-orm'
import type { Drizzle } from './database.ts'
import { clusters } from './declared-schema.ts'
import { enrollments } from './schema.ts'
import { sharedPart } from './shared-parts.ts'

const shown = {
  id: enrollments.id,
  deviceId: enrollments.deviceId,
  role: enrollments.role,
  hostname: enrollments.hostname,
  assurance: enrollments.assurance,
  profileRevision: enrollments.profileRevision,
  createdAt: enrollments.createdAt,
  lastStep: enrollments.lastStep,
  lastResult: enrollments.lastResult,
  lastDetail: enrollments.lastDetail,
  lastStepAt: enrollments.lastStepAt,
  joinExpiresAt: enrollments.joinExpiresAt,
  redeemedAt: enrollments.redeemedAt,
  appliedAt: enrollments.appliedAt,
  joinedAt: enrollments.joinedAt,
  readyAt: enrollments.readyAt,
  observed: enrollments.observed,
  endedAt: enrollments.endedAt,
  endReason: enrollments.endReason,
} as const

// Ids hold whole seconds: of two enrollments in one second the live one is the last.
const latestFirst = [
  sql`${enrollments.endedAt} is null desc`,
  desc(enrollments.createdAt),
  desc(enrollments.id),
] as const

export type LastEnrollment = Awaited<ReturnType<typeof select>>[number]

/** The live enrollment of each device, else its last one. */
export async function lastEnrollments(
  db: Drizzle,
  deviceIds: readonly string[],
): Promise<ReadonlyMap<string, LastEnrollment>> {
  if (deviceIds.length === 0) return new Map()
  const rows = await select(db, deviceIds)
  return new Map(rows.map((row) => [row.deviceId, row]))
}

function select(db: Drizzle, deviceIds: readonly string[]) {
  return db
    .selectDistinctOn([enrollments.deviceId], shown)
    .from(enrollments)
    .where(inArray(enrollments.deviceId, [...deviceIds]))
    .orderBy(enrollments.deviceId, ...latestFirst)
}

/** The last enrollment with what is kept of its document, sealed until it was applied and redacted from then on. */
export async function lastDocument(db: Drizzle, deviceId: string) {
  const [row] = await db
    .select({
      ...shown,
      cluster: clusters.name,
      profileId: enrollments.profileId,
      documentType: enrollments.documentType,
      documentDigest: enrollments.documentDigest,
      documentSealed: enrollments.documentSealed,
      documentShared: sharedPart,
      documentRedacted: enrollments.documentRedacted,
    })
    .from(enrollments)
    .innerJoin(clusters, eq(clusters.id, enrollments.clusterId))
    .where(eq(enrollments.deviceId, deviceId))
    .orderBy(...latestFirst)
    .limit(1)
  return row
}
