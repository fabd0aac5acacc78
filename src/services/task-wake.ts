import type { Listening } from '../store/listen.ts'
import type { Context } from './context.ts'

const channel = 'rollcall_tasks'

/** Milliseconds that wakes are gathered: NOTIFY takes a lock on the whole database when it commits, so at most five a second. */
const gather = 200

/** Ids that fit into one notification (8,000 bytes). */
const mostNamed = 250

/**
 * Wakes task polls here at once, and on the other replicas by a gathered notification. What gets lost on the way is found by the
 * next sweep of whoever holds the polls.
 */
export function taskWaker({ sql, log }: Pick<Context, 'sql' | 'log'>, wakeHere: (clusterId: string) => void) {
  let gathered = new Set<string>()
  const send = () => {
    const ids = [...gathered]
    gathered = new Set()
    const payloads: string[] = []
    while (ids.length > 0) payloads.push(ids.splice(0, mostNamed).join())
    sql`select pg_notify(${channel}, payload) from unnest(${payloads}::text[]) as payload`.catch((error: Error) =>
      log.debug({ err: { message: error.message } }, 'other replicas not woken'),
    )
  }
  return (clusterId: string): void => {
    wakeHere(clusterId)
    if (gathered.size === 0) setTimeout(send, gather).unref()
    gathered.add(clusterId)
  }
}

/** Hears what other replicas wake. */
export function hearWakes({ listen }: Pick<Context, 'listen'>, wakeHere: (clusterId: string) => void): Listening {
  return listen(channel, (payload) => {
    for (const clusterId of payload.split(',')) wakeHere(clusterId)
  })
}
