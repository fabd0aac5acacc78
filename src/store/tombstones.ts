import { and, eq, isNotNull, isNull, sql } from 'drizzle-orm'
import type { Drizzle } from './database.ts'
import { clusters } from './declared-schema.ts'
import { enrollments } from './schema.ts'
import { type StoredDocument, sharedPart } from './shared-parts.ts'

/** The live enrollment, locked, with its document for the redacted copy. */
export type LiveEnrollment = {
  id: string
  clusterId: string
  role: string
  document: StoredDocument | undefined
  redeemedAt: Date | null
  joinedAt: Date | null
}

export async function lockLiveEnrollment(tx: Drizzle, deviceId: string): Promise<LiveEnrollment | undefined> {
  const [row] = await tx
    .select({
      id: enrollments.id,
      clusterId: enrollments.clusterId,
      role: enrollments.role,
      sealed: enrollments.documentSealed,
      shared: sharedPart,
      redeemedAt: enrollments.redeemedAt,
      joinedAt: enrollments.joinedAt,
    })
    .from(enrollments)
    .where(and(eq(enrollments.deviceId, deviceId), isNull(enrollments.endedAt)))
    .for('update')
  if (!row) return undefined
  const { sealed, shared, ...live } = row
  return { ...live, document: sealed ? { sealed, shared } : undefined }
}

/** Why an enrollment ended; a fresh claim's is `replaced`. */
export type EndReason = 'revoked' | 'retired' | 'rekeyed' | 'reset'

/**
 * Ends an enrollment and every secret it was given: document, join token, report token, node credential.
 * @param redacted copy of a document that was still sealed; undefined keeps what is there
 */
export async function endEnrollment(
  tx: Drizzle,
  id: string,
  end: { at: Date; reason: EndReason; redacted?: string | undefined },
): Promise<void> {
  const notAfter = (column: typeof enrollments.joinExpiresAt) =>
    sql`least(${column}, ${end.at.toISOString()}::timestamptz)`
  await tx
    .update(enrollments)
    .set({
      endedAt: end.at,
      endReason: end.reason,
      documentSealed: null,
      joinSealed: null,
      joinExpiresAt: notAfter(enrollments.joinExpiresAt),
      reportExpiresAt: notAfter(enrollments.reportExpiresAt as never),
      ...(end.redacted === undefined ? {} : { documentRedacted: end.redacted }),
    })
    .where(eq(enrollments.id, id))
}

/** The clusters whose server token a device was ever given. */
export async function redeemedClusters(tx: Drizzle, deviceId: string): Promise<string[]> {
  const rows = await tx
    .selectDistinct({ clusterId: enrollments.clusterId })
    .from(enrollments)
    .where(and(eq(enrollments.deviceId, deviceId), isNotNull(enrollments.redeemedAt)))
  return rows.map(({ clusterId }) => clusterId)
}

/** A server that knew the cluster's token and CA keys is no longer trusted. @returns the cluster's name, if its state changed */
export async function markCompromised(tx: Drizzle, clusterId: string, at: Date): Promise<string | undefined> {
  const [row] = await tx
    .update(clusters)
    .set({
      state: 'compromised',
      stateSince: at,
      stuckReason: null,
      version: sql`${clusters.version} + 1`,
      updatedAt: at,
    })
    .where(and(eq(clusters.id, clusterId), sql`${clusters.state} <> 'compromised'`))
    .returning({ name: clusters.name })
  return row?.name
}
