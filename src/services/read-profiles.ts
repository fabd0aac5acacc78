import { AppError } from '../errors.ts'
import { findProfile, listProfiles, listRevisions } from '../store/profiles.ts'
import { seconds } from '../store/time.ts'
import type { Context } from './context.ts'
import { type ProfileBody, type ShownProfile, showProfile } from './profile-view.ts'

/** @throws AppError `not_found` */
export async function readProfile({ db }: Context, name: string): Promise<ShownProfile> {
  const row = await findProfile(db, name)
  if (!row) throw new AppError('not_found')
  return showProfile(row)
}

export async function readProfiles(
  { db }: Context,
  page: { after?: string | undefined; limit: number },
): Promise<ProfileBody[]> {
  return (await listProfiles(db, page)).map((row) => showProfile(row).body)
}

/** What a profile was, newest first. @throws AppError `not_found` */
export async function readRevisions(
  { db }: Context,
  name: string,
  page: { before?: string | undefined; limit: number },
) {
  const profile = await findProfile(db, name)
  if (!profile) throw new AppError('not_found')
  const before = page.before === undefined ? undefined : Number(page.before)
  const rows = await listRevisions(db, profile.id, { before, limit: page.limit })
  return rows.map((row) => {
    const { revision, spec } = row
    return { revision, created_at: seconds(row.createdAt), created_by: row.createdBy, spec }
  })
}
