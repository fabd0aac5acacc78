import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql } from 'postgres'
import { observerRole } from '../k3s/datastore-names.ts'

/**
 * Locks in Postgres' shared table that the sessions of one login may hold together. K3s holds some dozens; the table has room for
 * 64 a connection by default, and a login may have 40 connections: all logins at this limit fill less than half of it.
 */
const most = 1_000

/** Times that a login is tried to be ended in one look, and milliseconds between them: for as long as its sessions take to go. */
const attempts = 40
const between = 5

/** Looks from one session until the other begins anew and takes over: some two seconds. To begin costs ten times as much as to look. */
const looksEach = 8

/**
 * Who held more locks than K3s ever does, and was ended for it: a node's login, or one session of the observer's, by its process. A cluster's code
 * made that one do it; whose, the observer finds out, which reads each again by itself.
 */
export type Hoarder = { role: string; locks: number; process: number | null }

export type LockWatch = {
  /**
   * Looks at who holds Postgres' locks, and ends each login that holds too many, with its sessions; of the observer's, the session alone.
   * @throws what Postgres says
   */
  look: () => Promise<Hoarder[]>
  close: () => Promise<void>
}

/** `stands`: in a transaction that holds what a look needs. */
type Post = { sql: Sql; stands: boolean }

/**
 * Keeps Postgres' lock table from being filled by a node, or by its code in a session of ours. It is shared by all databases, PostgreSQL knows no
 * limit for a role, and whoever fills it keeps everybody from writing, logging in and being fenced (53200). So who watches must need nothing of it: a session in a
 * transaction that has planned and run the look before holds all locks that the look, and the end of sessions, will ever take. Two sessions take
 * turns, so that one always stands while the other one begins anew, to stay young.
 * @param connect opens a client with one connection of our own role in the clusters' database, which does not end it for being idle
 */
export function openLockWatch(connect: () => Sql): LockWatch {
  let turn: [Post, Post] = [
    { sql: connect(), stands: false },
    { sql: connect(), stands: false },
  ]
  let looks = 0
  return {
    look: async () => {
      const [elder, younger] = turn
      const seen = (await lookFrom(younger, elder)) ?? (await lookFrom(elder, younger))
      looks++
      if (seen && elder.stands && looks < looksEach) return seen
      looks = 0
      turn = [younger, elder]
      const renewed = await stand(elder).catch((error) => {
        // Who was found must be told of now: his login is ended, and no later look finds him.
        if (!seen?.length) throw error
        return []
      })
      if (seen) return seen
      await endAll(elder, younger, renewed)
      return renewed
    },
    close: async () => {
      await Promise.all(turn.map(({ sql }) => sql.end({ timeout: 1 })))
    },
  }
}

async function lookFrom(post: Post, other: Post): Promise<Hoarder[] | undefined> {
  if (!post.stands) return undefined
  const hoarders = await counted(post.sql, `${renew}; ${sessions}; execute looking`).catch(() => undefined)
  if (hoarders) await endAll(post, other, hoarders)
  else post.stands = false
  return hoarders
}

async function stand(post: Post): Promise<Hoarder[]> {
  post.stands = false
  const seen = await counted(post.sql, `rollback; begin read only; ${holds}; ${prepare}; ${sessions}; execute looking`)
  post.stands = true
  return seen
}

async function counted(sql: Sql, statements: string): Promise<Hoarder[]> {
  const results = (await sql.unsafe(statements)) as unknown as Hoarder[][]
  return [...(results.at(-1) ?? [])]
}

// What does not come to its end here is not lost: whoever hears of a hoarder goes on until its login is ended (services/lock-watch.ts).
async function endAll(post: Post, other: Post, hoarders: readonly Hoarder[]): Promise<void> {
  for (const { role, process } of hoarders) {
    const ended = process === null ? endHoarder(post, other, role) : endSessions(post, role, process)
    await ended.catch(() => {
      post.stands = false
    })
  }
}

// To forbid a login takes locks as well. There are some between the end of its sessions and the moment when it has come back
// and filled the table again; a session that is connected already is faster than one that has to log in.
async function endHoarder(post: Post, other: Post, role: string): Promise<void> {
  for (let attempt = 1; attempt <= attempts; attempt++) {
    await endSessions(post, role)
    await sleep(between)
    if (await forbid(other, role)) return endSessions(post, role)
  }
}

async function endSessions({ sql }: Post, role: string, process?: number): Promise<void> {
  const which = process === undefined ? '' : ` and pid = ${process}`
  await sql.unsafe(`${renew}; select pg_terminate_backend(pid) from pg_stat_activity where usename = '${role}'${which}`)
}

async function forbid(post: Post, role: string): Promise<boolean> {
  post.stands = false
  try {
    await post.sql.unsafe(`rollback; begin; set local lock_timeout = 100; alter role ${role} nologin; commit`)
    return true
  } catch {
    return false
  }
}

// Else a transaction sees the sessions that there were when it first looked.
const renew = 'select pg_stat_clear_snapshot()'

// Kept until the end of the look (backend_status.c, pgstat_read_current_status). To read 10,000 locks takes some 20 ms: whoever is refused one has
// let go of all and left by then, and would be nobody's.
const sessions = 'select from pg_stat_get_activity(null) limit 1'

// What asking for the right to end a session may read. To plan the read locks the indexes too.
const holds = 'select from pg_auth_members limit 1; select from pg_roles limit 1'

// What serialisable transactions have read (SIReadLock) is counted elsewhere. Only names of our own making get into statements.
const look = `
  select s.usename as role, sum(l.locks)::int as locks, p.process
  from (select pid, count(*) as locks from pg_locks where not fastpath and mode <> 'SIReadLock' group by pid) l
  join pg_stat_activity s on s.pid = l.pid, lateral (select case when s.usename = '${observerRole}' then s.pid end as process) p
  where s.usename ~ '^(k3s_n_[0-9a-hjkmnp-tv-z]{26}|${observerRole})$' group by s.usename, p.process having sum(l.locks) > ${most}`

// To plan it costs ten times as much as to run it. It is planned anew in each transaction, which then holds what planning locks.
const prepare = `deallocate all; prepare looking as ${look}`
