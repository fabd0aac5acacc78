import type { Sql } from 'postgres'
import { clustersDatabase, observerRole } from '../k3s/datastore-names.ts'
import { connect, type OwnServer } from './connect.ts'

/** Sessions of the observer, each with one connection that serves one read at a time and keeps nothing of it. */
export type Observer = {
  /**
   * Runs a statement in a read-only transaction with short timeouts and without a search path, in one message; then rolls back, and discards
   * all that a session can keep.
   * @returns its rows
   * @throws the error of Postgres; `code: 'OBSERVER_STUCK'` if nothing came back in time
   */
  run: (statement: string) => Promise<Record<string, unknown>[]>
  close: () => Promise<void>
}

export type ObserverOptions = {
  /** `connectObserver` */
  connect: () => Sql
  /** Reads at the same time */
  sessions: number
  /** Milliseconds after which a read is given up: longer than Postgres' own timeouts, which code that it should stop can ignore */
  patience?: number
  /** Reads after which a session is replaced: Postgres remembers every table that a session ever saw, 100 kB each */
  most?: number
  /** Hears of a read that was given up, whose session may still run */
  onStuck?: () => void
}

type Session = { sql: Sql; reads: number }

/** Opens the observer's sessions; each connects when it is first needed. */
export function openObserver({ connect, sessions, patience = 10_000, most = 60, onStuck }: ObserverOptions): Observer {
  const free: Session[] = Array.from({ length: sessions }, () => ({ sql: connect(), reads: 0 }))
  const waiting: ((session: Session) => void)[] = []
  let closed = false

  const take = (): Promise<Session> | Session => free.pop() ?? new Promise((resolve) => waiting.push(resolve))
  const give = (session: Session) => {
    const next = waiting.shift()
    if (next) next(session)
    else free.push(session)
  }
  const renew = (session: Session, seconds: number) => {
    void session.sql.end({ timeout: seconds }).catch(() => {})
    session.sql = connect()
    session.reads = 0
  }

  return {
    run: async (statement) => {
      const session = await take()
      try {
        if (closed) throw Object.assign(new Error('the observer is closed'), { code: 'CONNECTION_ENDED' })
        return await send(session.sql, statement, patience)
      } catch (error) {
        if ((error as { code?: unknown }).code === stuck) {
          renew(session, 0)
          onStuck?.()
        }
        throw error
      } finally {
        if (++session.reads >= most && !closed) renew(session, 1)
        give(session)
      }
    },
    close: async () => {
      closed = true
      for (const next of waiting.splice(0)) next({ sql: undefined as never, reads: 0 })
      await Promise.all(free.map(({ sql }) => sql.end({ timeout: 1 })))
    },
  }
}

const stuck = 'OBSERVER_STUCK'

/** Milliseconds: kine's own statements on a small table take one. */
const limits = { lock: 500, statement: 3_000, transaction: 5_000 } as const

/**
 * What holds in each of its sessions from the moment that it is connected, and what RESET ALL goes back to: to set it for each read cost as much as
 * a read of a small table.
 */
const settings = {
  // Not default_transaction_read_only: of several hosts the one that takes writes is looked for, and with it none does.
  statement_timeout: limits.statement,
  lock_timeout: limits.lock,
  idle_in_transaction_session_timeout: limits.transaction,
  search_path: '',
  // Tables here may have no statistics yet: an index that gives the order is always the right one.
  enable_sort: 'off',
  enable_bitmapscan: 'off',
  enable_seqscan: 'off',
} as const

/** Opens one connection of the observer's, for `openObserver`. */
export const connectObserver = (server: OwnServer, password: string): Sql =>
  connect(server, { database: clustersDatabase, login: { user: observerRole, password }, max: 1, settings })

const begin = 'begin read only'
// PostgreSQL before 17 does not know it, and would let no session in that begins with it.
const transactionTimeout = `set local transaction_timeout = ${limits.transaction}`

// All of DISCARD ALL (PostgreSQL's documentation lists it) but DISCARD PLANS: the plan of the check that all reads share is kept.
const forget = [
  'rollback',
  'close all',
  'set session authorization default',
  'reset all',
  'deallocate all',
  'unlisten *',
  'select pg_advisory_unlock_all()',
  'discard temp',
  'discard sequences',
].join('; ')

/**
 * One message for all of a read: a connection that is replaced in between cannot run its second half without its first. Then ROLLBACK, so that what a notification, a setting or a
 * cursor would have kept is gone, and all that DISCARD ALL forgets, for what no transaction takes back.
 */
async function send(sql: Sql, statement: string, patience: number): Promise<Record<string, unknown>[]> {
  const since17 = Number.parseInt(String(sql.parameters.server_version), 10) >= 17
  const all = Promise.allSettled([
    sql.unsafe([begin, ...(since17 ? [transactionTimeout] : []), statement].join('; ')),
    sql.unsafe(forget),
  ])
  const [read, forgotten] = await within(all, patience)
  if (read.status === 'rejected') throw read.reason
  if (forgotten.status === 'rejected') throw forgotten.reason
  const results = read.value as unknown as Record<string, unknown>[][]
  return results.at(-1) ?? []
}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(Object.assign(new Error('a read did not end'), { code: stuck })), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
