import type { Assurance, Json, Role } from '../documents/profile.ts'
import { AppError } from '../errors.ts'
import { findDevice } from '../store/devices.ts'
import { lastDocument } from '../store/last-enrollment.ts'
import { findRevision } from '../store/placements.ts'
import { seconds } from '../store/time.ts'
import type { Context } from './context.ts'
import { keyOf } from './read-devices.ts'
import { redactor } from './redact-document.ts'

/** A document with placeholders for its secrets, and why it says what it says. */
export type ShownDocument = Awaited<ReturnType<typeof readDocument>>

/**
 * The last document that a device was given.
 * @throws AppError `not_found` for an unknown device, and for one that was given none
 */
export async function readDocument(context: Context, serial: string) {
  const { db } = context
  const found = await findDevice(db, keyOf(serial))
  const last = found && (await lastDocument(db, found.device.id))
  if (!last) throw new AppError('not_found')
  const { device } = found
  const { documentSealed: sealed, documentShared: shared } = last
  const revision = await findRevision(db, last.profileId, last.profileRevision)
  return {
    enrollment: last.id,
    created_at: seconds(last.createdAt),
    content_type: last.documentType,
    digest: last.documentDigest,
    document: sealed ? redactor(context)(last.id, { sealed, shared }) : last.documentRedacted,
    why: {
      profile: found.profile,
      profile_revision: last.profileRevision,
      profile_spec: (revision ?? null) as Json,
      cluster: last.cluster,
      role: last.role as Role,
      hostname: last.hostname,
      assurance: last.assurance as Assurance,
      device: { labels: device.labels, vars: device.vars, note: device.note },
      device_changed_since: seconds(device.updatedAt) > seconds(last.createdAt),
    },
  }
}
