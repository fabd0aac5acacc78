import { and, asc, eq, gt, isNull, or } from 'drizzle-orm'
import type { Drizzle } from './database.ts'
import { adminTokens } from './server-schema.ts'

export type AdminTokenRow = typeof adminTokens.$inferSelect

/** The live token with this SHA-256; whether it has expired is the caller's to say. */
export async function findTokenByHash(db: Drizzle, hash: Uint8Array): Promise<AdminTokenRow | undefined> {
  const rows = await db
    .select()
    .from(adminTokens)
    .where(and(eq(adminTokens.hash, hash), isNull(adminTokens.deletedAt)))
  return rows[0]
}

/** A live token by its id, else by its name. */
export async function findToken(db: Drizzle, idOrName: string): Promise<AdminTokenRow | undefined> {
  const rows = await db
    .select()
    .from(adminTokens)
    .where(and(or(eq(adminTokens.id, idOrName), eq(adminTokens.name, idOrName)), isNull(adminTokens.deletedAt)))
  return rows.find((row) => row.id === idOrName) ?? rows[0]
}

/** Live tokens in the order of their making, expired ones included. */
export function listTokens(db: Drizzle, page: { after?: string | undefined; limit: number }): Promise<AdminTokenRow[]> {
  return db
    .select()
    .from(adminTokens)
    .where(and(isNull(adminTokens.deletedAt), page.after === undefined ? undefined : gt(adminTokens.id, page.after)))
    .orderBy(asc(adminTokens.id))
    .limit(page.limit)
}

export async function insertToken(tx: Drizzle, row: typeof adminTokens.$inferInsert): Promise<void> {
  await tx.insert(adminTokens).values(row)
}

/** @returns whether there was a live token to end */
export async function endToken(tx: Drizzle, id: string, at: Date): Promise<boolean> {
  const ended = await tx
    .update(adminTokens)
    .set({ deletedAt: at })
    .where(and(eq(adminTokens.id, id), isNull(adminTokens.deletedAt)))
    .returning({ id: adminTokens.id })
  return ended.length > 0
}
