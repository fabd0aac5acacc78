import { and, eq, lte, sql } from 'drizzle-orm'
import type { Drizzle } from './database.ts'
import { idempotency } from './server-schema.ts'

export type AnswerKey = { tokenId: string; route: string; key: string }
export type KeptAnswer = typeof idempotency.$inferSelect

/**
 * Takes the key for this transaction. A crash frees it, because the lock ends with its connection.
 * @returns false while another transaction holds it
 */
export async function lockAnswerKey(tx: Drizzle, { tokenId, route, key }: AnswerKey): Promise<boolean> {
  const name = JSON.stringify(['idempotency', tokenId, route, key])
  const rows = await tx.execute<{ locked: boolean }>(
    sql`select pg_try_advisory_xact_lock(hashtextextended(${name}, 0)) as locked`,
  )
  return rows[0]?.locked === true
}

/** The answer kept under this key, whatever its age. */
export async function findAnswer(tx: Drizzle, where: AnswerKey): Promise<KeptAnswer | undefined> {
  const rows = await tx.select().from(idempotency).where(matches(where))
  return rows[0]
}

/** Keeps an answer, in place of one that is too old. The primary key allows no second one. */
export async function keepAnswer(tx: Drizzle, answer: typeof idempotency.$inferInsert, staleBefore: Date) {
  await tx.delete(idempotency).where(and(matches(answer), lte(idempotency.createdAt, staleBefore)))
  await tx.insert(idempotency).values(answer)
}

const matches = (w: AnswerKey) =>
  and(eq(idempotency.tokenId, w.tokenId), eq(idempotency.route, w.route), eq(idempotency.key, w.key))
