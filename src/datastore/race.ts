import { setTimeout as sleep } from 'node:timers/promises'

/** Times that a change of Postgres' catalogs is tried. */
const attempts = 8

// Made meanwhile by another server of ours: role, schema, database; then deadlock and serialisation; and no place in Postgres' lock
// table, which is free again as soon as who filled it is ended (lock-watch.ts).
const states = new Set(['23505', '42710', '42P06', '42P04', '40001', '40P01', '53200'])

/**
 * Runs an idempotent change of roles and schemas again when another one got in its way: Postgres' catalogs know no row locks, and
 * answer two changes of one row at once with "tuple concurrently updated". No advisory lock in the clusters' database, since any
 * node could take it and keep it.
 */
export async function settled<T>(change: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await change()
    } catch (error) {
      if (attempt === attempts || !lostRace(error)) throw error
    }
    await sleep(10 * 2 ** attempt * (0.5 + Math.random()))
  }
}

/** Whether Postgres refused a change because of another one at the same moment. */
export function lostRace(error: unknown): boolean {
  const { code = '', message = '' } = (error ?? {}) as { code?: string; message?: string }
  return states.has(code) || (code === 'XX000' && message.startsWith('tuple concurrently'))
}
