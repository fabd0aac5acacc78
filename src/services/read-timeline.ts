import type { Json } from '../documents/profile.ts'
import { AppError } from '../errors.ts'
import { findDevice } from '../store/devices.ts'
import { type EventRow, listEvents } from '../store/events.ts'
import { seconds } from '../store/time.ts'
import type { Context } from './context.ts'
import { keyOf } from './read-devices.ts'

/** What happened to a device. `at` is Unix seconds. */
export type TimelineEvent = ReturnType<typeof toEvent>

/**
 * A device's events, oldest first.
 * @param page `after` is the number in an event's id
 * @throws AppError `not_found`
 */
export async function readTimeline(
  { db }: Context,
  serial: string,
  page: { after: number | undefined; limit: number },
): Promise<TimelineEvent[]> {
  const found = await findDevice(db, keyOf(serial))
  if (!found) throw new AppError('not_found')
  const rows = await listEvents(db, { deviceId: found.device.id, ...page })
  return rows.map(toEvent)
}

/** The key of a page cursor. */
export const eventNumber = (event: TimelineEvent): string => event.id.slice('evt_'.length)

function toEvent(row: EventRow) {
  return {
    id: `evt_${row.id}`,
    at: seconds(row.at),
    source: row.source,
    name: row.name,
    result: row.result,
    detail: row.detail as Json,
    enrollment: row.enrollmentId,
  }
}
