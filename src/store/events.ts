import { and, asc, eq, gt } from 'drizzle-orm'
import type { Drizzle } from './database.ts'
import { events } from './schema.ts'

export type EventRow = typeof events.$inferSelect

/** Appends to a device's timeline, in the transaction of what happened. `detail` is shown: never a secret. */
export async function recordEvent(
  tx: Drizzle,
  event: {
    deviceId: string
    enrollmentId?: string
    at: Date
    source: 'admin' | 'server'
    name: string
    detail?: unknown
  },
): Promise<void> {
  await tx.insert(events).values({ ...event, result: 'ok' })
}

export type NewEvent = {
  deviceId: string
  enrollmentId: string | null
  name: string
  result: 'ok' | 'fail'
  detail: unknown
}

/** Tells many timelines at once, of what the server saw or did. `detail` is shown: never a secret. */
export async function recordEvents(tx: Drizzle, at: Date, told: readonly NewEvent[]): Promise<void> {
  if (told.length === 0) return
  await tx.insert(events).values(told.map((event) => ({ ...event, at, source: 'server' })))
}

/** A device's timeline, oldest first. `after` is the id after which the page begins. */
export function listEvents(
  db: Drizzle,
  filter: { deviceId: string; after?: number | undefined; limit: number },
): Promise<EventRow[]> {
  const { deviceId, after, limit } = filter
  return db
    .select()
    .from(events)
    .where(and(eq(events.deviceId, deviceId), after === undefined ? undefined : gt(events.id, after)))
    .orderBy(asc(events.id))
    .limit(limit)
}
