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

/** Looks from one session until the other begins anew and takes over: half a minute. To begin costs as much as a hundred looks. */
const looksEach = 120

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
  /** Has the sessions that stand know the logins that were made: while the lock table is full they hear of none. Never throws. */
  learn: () => Promise<void>
  close: () => Promise<void>
}

/** `stands`: in a transaction that holds what a look needs. */
type Post = { sql: Sql; stands: boolean }

/**
 * Keeps Postgres' lock table from being filled by a node, or by its code in a session of ours. It is shared by all databases, PostgreSQL knows no
 * limit for a role, and whoever fills it keeps everybody from writing, logging in and being fenced (53200). So who watches must need nothing of it: a session in a
 * transaction that holds the catalog needs no lock to look, nor to end sessions. Two sessions take
 * turns, so that one always stands while the other one begins anew, to stay young.
 * @param connect opens a client with one connection of our own role in the clusters' database, which does not end it for being idle
 */
export function openLockWatch(connect: () => Sql): LockWatch {
  let turn: [Post, Post] = [
    { sql: connect(), stands: false },
    { sql: connect(), stands: false },
  ]
  let looks = 0
  const begin = async (post: Post, other: Post): Promise<Hoarder[]> => {
    looks = 0
    turn = [other, post]
    const hoarders = await stand(post)
    await endAll(post, other, hoarders)
    return hoarders
  }
  return {
    look: async () => {
      const [elder, younger] = turn
      const seen = (await lookFrom(younger, elder)) ?? (await lookFrom(elder, younger))
      looks++
      const due = [younger, elder].find(({ stands }) => !stands) ?? (looks < looksEach ? undefined : elder)
      // Who was found must be told of now: his login is ended, and no later look finds him.
      const begun = due && (await begin(due, due === elder ? younger : elder).catch((error: unknown) => ({ error })))
      if (seen) return seen
      if (!begun) throw new Error('no session that stands can look')
      if ('error' in begun) throw begun.error
      return begun
    },
    learn: async () => {
      const standing = turn.filter(({ stands }) => stands)
      await Promise.all(standing.map((post) => asked(post, learn).catch(() => {})))
    },
    close: async () => {
      await Promise.all(turn.map(({ sql }) => sql.end({ timeout: 1 })))
    },
  }
}

async function lookFrom(post: Post, other: Post): Promise<Hoarder[] | undefined> {
  if (!post.stands) return undefined
  const looking = `${renew}; ${sessions}; execute looking`
  const hoarders = await asked(post, `${learn}; ${looking}`)
    .catch(() => asked(post, looking))
    .catch(() => undefined)
  if (hoarders) await endAll(post, other, hoarders)
  return hoarders
}

async function stand(post: Post): Promise<Hoarder[]> {
  post.stands = false
  const seen = await rows(post, `rollback; begin read only; ${hold}; ${prepare}; ${sessions}; execute looking`)
  await rows(post, `savepoint ${standing}`)
  post.stands = true
  return seen
}

/** What fails takes nothing from what a session holds that stands. */
async function asked(post: Post, statements: string): Promise<Hoarder[]> {
  try {
    return await rows(post, statements)
  } catch (error) {
    post.stands = await post.sql.unsafe(`rollback to ${standing}`).then(
      () => true,
      () => false,
    )
    throw error
  }
}

/** Of the last statement. */
async function rows({ sql }: Post, statements: string): Promise<Hoarder[]> {
  const results = (await sql.unsafe(statements)) as unknown as Hoarder[][]
  return [...(results.at(-1) ?? [])]
}

// What does not come to its end here is not lost: whoever hears of a hoarder goes on until its login is ended (services/lock-watch.ts).
async function endAll(post: Post, other: Post, hoarders: readonly Hoarder[]): Promise<void> {
  for (const { role, process } of hoarders) {
    const ended = process === null ? endHoarder(post, other, role) : endSessions(post, role, process)
    await ended.catch(() => {})
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

async function endSessions(post: Post, role: string, process?: number): Promise<void> {
  const which = process === undefined ? '' : ` and pid = ${process}`
  await asked(post, `${renew}; select pg_terminate_backend(pid) from ${activity} where usename = '${role}'${which}`)
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

const standing = 'standing'

// Else a transaction sees the sessions that there were when it first looked.
const renew = 'select pg_stat_clear_snapshot()'

// Kept until the end of the look (backend_status.c, pgstat_read_current_status). To read 10,000 locks takes some 20 ms: whoever is refused one has
// let go of all and left by then, and would be nobody's.
const sessions = 'select from pg_stat_get_activity(null) limit 1'

// Whoever holds what he asks for is told of nothing that others changed, roles above all (lmgr.c, LockRelationOid): so one table is not held.
const unheld = 'pg_ts_template'
const learn = `select pg_relation_size('pg_catalog.${unheld}')`

// The rest of the catalog, with its indexes, which planning locks: what of it a session reads anew depends on what it forgot, and others can make it forget
// all. Two that only a superuser may read are read through views.
const hold = `do $$ declare name text; begin
  for name in select relname from pg_class where relnamespace = 'pg_catalog'::regnamespace and relkind = 'r' and relname <> '${unheld}'
    and has_table_privilege(oid, 'select') loop
    execute format('select from pg_catalog.%I limit 0', name);
  end loop;
  perform from pg_roles limit 0;
  perform from pg_stats limit 0;
end $$`

// Not pg_locks and pg_stat_activity: a view's text lies in a table of its own, which nobody can hold.
const activity = '(select pid, pg_get_userbyid(usesysid) as usename from pg_stat_get_activity(null)) s'

// What serialisable transactions have read (SIReadLock) is counted elsewhere. Only names of our own making get into statements.
const look = `
  select s.usename as role, sum(l.locks)::int as locks, p.process
  from (select pid, count(*) as locks from pg_lock_status() where not fastpath and mode <> 'SIReadLock' group by pid) l
  join ${activity} on s.pid = l.pid, lateral (select case when s.usename = '${observerRole}' then s.pid end as process) p
  where s.usename ~ '^(k3s_n_[0-9a-hjkmnp-tv-z]{26}|${observerRole})$' group by s.usename, p.process having sum(l.locks) > ${most}`

// To plan it costs ten times as much as to run it.
const prepare = `deallocate all; prepare looking as ${look}`
