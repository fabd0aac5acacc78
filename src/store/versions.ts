import { asc, eq, gt } from 'drizzle-orm'
import type { Drizzle } from './database.ts'
import { versions } from './declared-schema.ts'

export type VersionRow = typeof versions.$inferSelect

export async function findVersion(db: Drizzle, version: string, lock?: 'update'): Promise<VersionRow | undefined> {
  const query = db.select().from(versions).where(eq(versions.version, version))
  const rows = await (lock ? query.for(lock) : query)
  return rows[0]
}

/** By name, as text. */
export function listVersions(db: Drizzle, page: { after?: string | undefined; limit: number }): Promise<VersionRow[]> {
  return db
    .select()
    .from(versions)
    .where(page.after === undefined ? undefined : gt(versions.version, page.after))
    .orderBy(asc(versions.version))
    .limit(page.limit)
}

/** @returns whether it was new */
export async function insertVersion(tx: Drizzle, row: typeof versions.$inferInsert): Promise<boolean> {
  const rows = await tx.insert(versions).values(row).onConflictDoNothing().returning({ version: versions.version })
  return rows.length > 0
}

export async function setHashes(
  tx: Drizzle,
  version: string,
  hashes: Pick<VersionRow, 'artifacts' | 'files'>,
): Promise<void> {
  await tx.update(versions).set(hashes).where(eq(versions.version, version))
}
