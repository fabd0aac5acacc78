import { and, asc, desc, eq, gt, isNull, lt, notInArray } from 'drizzle-orm'
import type { ProfileSpec } from '../documents/profile.ts'
import type { Lock } from './clusters.ts'
import type { Drizzle } from './database.ts'
import { profileRevisions, profiles } from './declared-schema.ts'
import { devices } from './schema.ts'

/** A profile with the spec of its newest revision. */
export type ProfileRow = typeof profiles.$inferSelect & { spec: ProfileSpec }
export type RevisionRow = typeof profileRevisions.$inferSelect

const current = and(eq(profileRevisions.profileId, profiles.id), eq(profileRevisions.revision, profiles.revision))

const newest = (db: Drizzle) =>
  db.select({ profile: profiles, spec: profileRevisions.spec }).from(profiles).innerJoin(profileRevisions, current)

export async function findProfile(db: Drizzle, name: string, lock?: Lock): Promise<ProfileRow | undefined> {
  const isIt = and(eq(profiles.name, name), isNull(profiles.deletedAt))
  // First the lock, then the join: a row that changed while a joined select waited for it would no longer match its revision.
  if (lock) await db.select({ id: profiles.id }).from(profiles).where(isIt).for(lock)
  const rows = await newest(db).where(isIt)
  return rows[0] && { ...rows[0].profile, spec: rows[0].spec }
}

/** Live profiles in the order of their making. */
export async function listProfiles(
  db: Drizzle,
  page: { after?: string | undefined; limit: number },
): Promise<ProfileRow[]> {
  const rows = await newest(db)
    .where(and(isNull(profiles.deletedAt), page.after === undefined ? undefined : gt(profiles.id, page.after)))
    .orderBy(asc(profiles.id))
    .limit(page.limit)
  return rows.map(({ profile, spec }) => ({ ...profile, spec }))
}

/** Newest first; `before` is the revision with which the last page ended. */
export function listRevisions(
  db: Drizzle,
  profileId: string,
  page: { before?: number | undefined; limit: number },
): Promise<RevisionRow[]> {
  const { before } = page
  const older = before === undefined ? undefined : lt(profileRevisions.revision, before)
  return db
    .select()
    .from(profileRevisions)
    .where(and(eq(profileRevisions.profileId, profileId), older))
    .orderBy(desc(profileRevisions.revision))
    .limit(page.limit)
}

export async function insertProfile(tx: Drizzle, row: typeof profiles.$inferInsert): Promise<void> {
  await tx.insert(profiles).values(row)
}

/** Revisions are written once: the primary key refuses a second of the same number. */
export async function insertRevision(tx: Drizzle, row: typeof profileRevisions.$inferInsert): Promise<void> {
  await tx.insert(profileRevisions).values(row)
}

export async function updateProfile(
  tx: Drizzle,
  id: string,
  set: Partial<typeof profiles.$inferInsert>,
): Promise<void> {
  await tx.update(profiles).set(set).where(eq(profiles.id, id))
}

/** Whether a device that is no tombstone uses the profile. */
export async function profileInUse(db: Drizzle, profileId: string): Promise<boolean> {
  const rows = await db
    .select({ id: devices.id })
    .from(devices)
    .where(and(eq(devices.profileId, profileId), notInArray(devices.state, ['revoked', 'retired'])))
    .limit(1)
  return rows.length > 0
}
