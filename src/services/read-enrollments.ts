import type { Assurance, Role } from '../documents/profile.ts'
import { AppError } from '../errors.ts'
import { type EnrollmentFilter, type EnrollmentRow, findEnrollment, listEnrollments } from '../store/enrollments.ts'
import { seconds, secondsOrNull } from '../store/time.ts'
import type { Context } from './context.ts'

/** One accepted claim and what became of it. No secret, no document. */
export type Enrollment = ReturnType<typeof toEnrollment>

/** @throws AppError `not_found` */
export async function readEnrollment({ db }: Context, id: string): Promise<Enrollment> {
  const row = await findEnrollment(db, id)
  if (!row) throw new AppError('not_found')
  return toEnrollment(row)
}

/** Newest first. */
export async function readEnrollments({ db }: Context, filter: EnrollmentFilter): Promise<Enrollment[]> {
  return (await listEnrollments(db, filter)).map(toEnrollment)
}

function toEnrollment(row: EnrollmentRow) {
  return {
    id: row.id,
    device: row.device,
    cluster: row.cluster,
    profile: row.profile,
    profile_revision: row.profileRevision,
    role: row.role as Role,
    hostname: row.hostname,
    assurance: row.assurance as Assurance,
    live: row.endedAt === null,
    created_at: seconds(row.createdAt),
    document_type: row.documentType,
    document_digest: row.documentDigest,
    join_expires_at: seconds(row.joinExpiresAt),
    redeemed_at: secondsOrNull(row.redeemedAt),
    report_expires_at: seconds(row.reportExpiresAt),
    last_step: row.lastStep,
    last_result: row.lastResult,
    last_detail: row.lastDetail,
    last_step_at: secondsOrNull(row.lastStepAt),
    applied_at: secondsOrNull(row.appliedAt),
    joined_at: secondsOrNull(row.joinedAt),
    ready_at: secondsOrNull(row.readyAt),
    observed: row.observed,
    ended_at: secondsOrNull(row.endedAt),
    end_reason: row.endReason,
  }
}
