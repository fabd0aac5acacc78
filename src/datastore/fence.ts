import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql } from 'postgres'
import { settled } from './race.ts'

/** Milliseconds that ending a login's sessions may take. */
const patience = 20_000

/** Milliseconds that taking the right to log in may wait, until the node's sessions are ended for it. */
const siege = 100

/** Milliseconds until somebody who was let in before is certainly among the sessions: no more than CPU time lies between. */
const arrival = 3_000

/**
 * Ends a login: NOLOGIN, committed, and then its sessions. When this returns, whoever had it writes nothing any more.
 * The node may fight back: keep its own row locked, come again while it still may.
 * @param sql our own role in the clusters' database, with two connections or more
 * @throws Error if its sessions do not end
 */
export async function fenceRole(sql: Sql, role: string): Promise<void> {
  if (!(await exists(sql, role))) return
  await forbidLogin(sql, role)
  const arriving = await beingLetIn(sql)
  const deadline = Date.now() + patience
  const arrived = Date.now() + arrival
  for (let pause = 5; ; pause = Math.min(2 * pause, 250)) {
    const left = await endSessions(sql, role)
    if (left === 0 && (Date.now() > arrived || !(await anyStillArrives(sql, arriving)))) return
    if (Date.now() > deadline) throw new Error(`sessions of ${role} do not end`)
    await sleep(pause)
  }
}

// It waits for a transaction of the node's that changed the same row; ending its sessions lets ours through.
async function forbidLogin(sql: Sql, role: string): Promise<void> {
  const forbidden = settled(() => sql.unsafe(`alter role ${role} nologin`)).then(() => true)
  // It may fail while sessions are ended: whoever waits next hears of it.
  forbidden.catch(() => {})
  while (!(await Promise.race([forbidden, sleep(siege, false)]))) await endSessions(sql, role)
}

/** @returns how many were found, not how many are left */
async function endSessions(sql: Sql, role: string): Promise<number> {
  return (
    await settled(async () => sql`select pg_terminate_backend(pid) from pg_stat_activity where usename = ${role}`)
  ).length
}

type Arriving = { pid: number; transaction: string }

/**
 * Backends that are in a transaction and not among the sessions yet: those that log in just now, of whatever role. One that was
 * asked for its right to log in before we took it shows its name a moment later.
 */
async function beingLetIn(sql: Sql): Promise<Arriving[]> {
  return settled(
    async () => sql<Arriving[]>`
    select l.pid, l.virtualtransaction as transaction from pg_locks l left join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'virtualxid' and a.usesysid is null and coalesce(a.backend_type, 'client backend') = 'client backend'`,
  )
}

async function anyStillArrives(sql: Sql, arriving: readonly Arriving[]): Promise<boolean> {
  if (arriving.length === 0) return false
  const now = await beingLetIn(sql)
  return now.some((one) => arriving.some((then) => then.pid === one.pid && then.transaction === one.transaction))
}

async function exists(sql: Sql, role: string): Promise<boolean> {
  return (await settled(async () => sql`select from pg_roles where rolname = ${role}`)).length > 0
}
