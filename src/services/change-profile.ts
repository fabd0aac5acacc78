import { isDeepStrictEqual } from 'node:util'
import type { LintProblem } from '../documents/input.ts'
import { ProfileSpec } from '../documents/profile.ts'
import { AppError } from '../errors.ts'
import { recordAudit } from '../store/audit.ts'
import type { Drizzle } from '../store/database.ts'
import { findProfile, insertRevision, type ProfileRow, updateProfile } from '../store/profiles.ts'
import { date } from '../store/time.ts'
import type { Actor, Precondition } from './actor.ts'
import { checkProfile } from './check-profile.ts'
import type { Context } from './context.ts'
import { parse, refuse } from './invalid.ts'
import { mergePatch } from './merge-patch.ts'
import { type ShownProfile, showProfile } from './profile-view.ts'

/** Times that a change is tried anew because the profile was changed meanwhile. */
const attempts = 20

/**
 * Merges a patch (RFC 7396) into a profile and keeps the outcome as its next revision; the same content makes none.
 * @throws AppError `not_found`, `precondition_failed`, `invalid` with what lint found, `busy` if others change it all the time
 */
export async function changeProfile(
  context: Context,
  actor: Actor,
  name: string,
  patch: unknown,
  precondition: Precondition,
): Promise<ShownProfile> {
  const patched = (row: ProfileRow | undefined): ProfileSpec => {
    if (!row) throw new AppError('not_found')
    precondition({ id: row.id, version: row.revision })
    const spec = parse(ProfileSpec, mergePatch(row.spec, patch))
    refuse(spec.name === name ? [] : [{ path: 'name', reason: 'a name cannot be changed' }])
    return spec
  }
  for (let attempt = 1; attempt <= attempts; attempt++) {
    // Tried before the transaction: a template may take seconds, and nobody shall wait for its lock or its connection.
    const tried = patched(await findProfile(context.db, name))
    const warnings = await checkProfile(context, tried)
    const shown = await context.db.transaction(async (tx) => {
      const row = await findProfile(tx, name, 'update')
      return row && isDeepStrictEqual(patched(row), tried) ? keep(context, tx, actor, row, tried, warnings) : undefined
    })
    if (shown) return shown
  }
  throw new AppError('busy', { detail: 'the profile goes on being changed by others', retryAfter: 1 })
}

async function keep(
  context: Context,
  tx: Drizzle,
  actor: Actor,
  row: ProfileRow,
  spec: ProfileSpec,
  warnings: LintProblem[],
): Promise<ShownProfile> {
  const now = context.now()
  if (isDeepStrictEqual(spec, parse(ProfileSpec, row.spec))) return showProfile(row, warnings)
  const revision = row.revision + 1
  const by = { createdAt: date(now), createdBy: actor.name }
  await insertRevision(tx, { profileId: row.id, revision, spec, ...by })
  await updateProfile(tx, row.id, { revision, updatedAt: date(now) })
  await recordAudit(tx, now, actor, 'profile.change', `profile:${row.name}`, { revision })
  return showProfile({ ...row, revision, spec, updatedAt: date(now) }, warnings)
}
