import { AppError } from '../errors.ts'
import { recordAudit } from '../store/audit.ts'
import { findProfile, profileInUse, updateProfile } from '../store/profiles.ts'
import { date } from '../store/time.ts'
import type { Actor, Precondition } from './actor.ts'
import type { Context } from './context.ts'

/** Takes a profile away; its revisions stay for the enrollments that name them. @throws AppError `state_conflict` while in use */
export function deleteProfile(
  context: Pick<Context, 'db' | 'now'>,
  actor: Actor,
  name: string,
  precondition: Precondition,
): Promise<void> {
  const now = context.now()
  return context.db.transaction(async (tx) => {
    const row = await findProfile(tx, name, 'update')
    if (!row) throw new AppError('not_found')
    precondition({ id: row.id, version: row.revision })
    if (await profileInUse(tx, row.id)) throw new AppError('state_conflict', { detail: 'devices use this profile' })
    await updateProfile(tx, row.id, { deletedAt: date(now), updatedAt: date(now) })
    await recordAudit(tx, now, actor, 'profile.delete', `profile:${name}`, { id: row.id })
  })
}
