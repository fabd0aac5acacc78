import type { Sql } from 'postgres'
import { observerRole } from '../k3s/datastore-names.ts'
import { copying } from './copy.ts'

/** Seconds for a Postgres that stood still as a whole to end what it had begun, before anything is said of a read. */
const grace = 1

/** Seconds that a copy of a cluster may run (copy.ts), and some for its end. What a session was sent, none of the code that it runs can change. */
const longestCopy = 3_660

/**
 * Ends sessions of the observer that run for longer than any read may: hostile code can catch a cancelled statement and switch timeouts off,
 * but not this. Needed only where the guard failed, so nothing does it without cause.
 * @param sql our own role in the clusters' database, which is a member of the observer's (provision.ts): what a session does shows to members alone
 * @param seconds that a read may take
 * @returns their processes: what Postgres itself says of a read that did not end
 */
export async function endStuckReads(sql: Sql, seconds: number): Promise<number[]> {
  await sql.unsafe(`select pg_sleep(${grace})`)
  const ended = await sql<{ pid: number }[]>`
    select pid, pg_terminate_backend(pid) from pg_stat_activity
    where usename = ${observerRole} and xact_start < clock_timestamp() - make_interval(secs =>
      case when starts_with(query, ${copying}) then ${longestCopy}::float8 else ${seconds}::float8 end)`
  return ended.map(({ pid }) => pid)
}
