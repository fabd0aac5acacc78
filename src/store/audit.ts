import { and, desc, eq, lt } from 'drizzle-orm'
import type { Drizzle } from './database.ts'
import { audit } from './server-schema.ts'
import { date } from './time.ts'

export type AuditRow = typeof audit.$inferSelect

/**
 * Notes what somebody did; called in the transaction that does it.
 * @param now Unix seconds
 * @param action `<resource>.<verb>`, e.g. `cluster.create`
 * @param target `<resource>:<name>`, e.g. `cluster:site-a`
 * @param detail never a secret: whoever may read may read this
 */
export async function recordAudit(
  tx: Drizzle,
  now: number,
  actor: { name: string; requestId?: string },
  action: string,
  target: string,
  detail?: unknown,
): Promise<void> {
  await tx.insert(audit).values({
    at: date(now),
    actor: actor.name,
    action,
    target,
    requestId: actor.requestId ?? null,
    detail: detail ?? null,
  })
}

/** Newest first. `before` is the id after which the last page ended. */
export function listAudit(
  db: Drizzle,
  filter: { target?: string | undefined; actor?: string | undefined; before?: number | undefined; limit: number },
): Promise<AuditRow[]> {
  return db
    .select()
    .from(audit)
    .where(
      and(
        filter.target === undefined ? undefined : eq(audit.target, filter.target),
        filter.actor === undefined ? undefined : eq(audit.actor, filter.actor),
        filter.before === undefined ? undefined : lt(audit.id, filter.before),
      ),
    )
    .orderBy(desc(audit.id))
    .limit(filter.limit)
}
