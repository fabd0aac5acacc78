import type { ProfileSpec } from '../documents/profile.ts'
import { newId } from '../ids.ts'
import { recordAudit } from '../store/audit.ts'
import { insertProfile, insertRevision } from '../store/profiles.ts'
import { date } from '../store/time.ts'
import type { Actor } from './actor.ts'
import { checkProfile } from './check-profile.ts'
import type { Context } from './context.ts'
import { type ShownProfile, showProfile } from './profile-view.ts'

/**
 * Makes a profile with its first revision.
 * @throws AppError `invalid` with what lint found, `already_exists` if a live profile has this name
 */
export async function createProfile(context: Context, actor: Actor, spec: ProfileSpec): Promise<ShownProfile> {
  const now = context.now()
  const warnings = await checkProfile(context, spec)
  const times = { createdAt: date(now), updatedAt: date(now) }
  const row = { id: newId('prf', now, context.random(12)), name: spec.name, revision: 1, ...times, deletedAt: null }
  await context.db.transaction(async (tx) => {
    await insertProfile(tx, row)
    const by = { createdAt: date(now), createdBy: actor.name }
    await insertRevision(tx, { profileId: row.id, revision: 1, spec, ...by })
    await recordAudit(tx, now, actor, 'profile.create', `profile:${spec.name}`, { revision: 1 })
  })
  return showProfile({ ...row, spec }, warnings)
}
