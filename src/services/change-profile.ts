import { isDeepStrictEqual } from 'node:util'
import { ProfileSpec } from '../documents/profile.ts'
import { AppError } from '../errors.ts'
import { recordAudit } from '../store/audit.ts'
import { findProfile, insertRevision, updateProfile } from '../store/profiles.ts'
import { date } from '../store/time.ts'
import type { Actor, Precondition } from './actor.ts'
import { checkProfile } from './check-profile.ts'
import type { Context } from './context.ts'
import { parse, refuse } from './invalid.ts'
import { mergePatch } from './merge-patch.ts'
import { type ShownProfile, showProfile } from './profile-view.ts'

/**
 * Merges a patch (RFC 7396) into a profile and keeps the outcome as its next revision; the same content makes none.
 * @throws AppError `not_found`, `precondition_failed`, `invalid` with what lint found
 */
export function changeProfile(
  context: Context,
  actor: Actor,
  name: string,
  patch: unknown,
  precondition: Precondition,
): Promise<ShownProfile> {
  const now = context.now()
  return context.db.transaction(async (tx) => {
    const row = await findProfile(tx, name, 'update')
    if (!row) throw new AppError('not_found')
    precondition({ id: row.id, version: row.revision })
    const spec = parse(ProfileSpec, mergePatch(row.spec, patch))
    refuse(spec.name === name ? [] : [{ path: 'name', reason: 'a name cannot be changed' }])
    const warnings = await checkProfile(context, spec)
    if (isDeepStrictEqual(spec, parse(ProfileSpec, row.spec))) return showProfile(row, warnings)
    const revision = row.revision + 1
    const by = { createdAt: date(now), createdBy: actor.name }
    await insertRevision(tx, { profileId: row.id, revision, spec, ...by })
    await updateProfile(tx, row.id, { revision, updatedAt: date(now) })
    await recordAudit(tx, now, actor, 'profile.change', `profile:${name}`, { revision })
    return showProfile({ ...row, revision, spec, updatedAt: date(now) }, warnings)
  })
}
