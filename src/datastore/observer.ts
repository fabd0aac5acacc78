import type { Sql } from 'postgres'
import { clustersDatabase, observerRole } from '../k3s/datastore-names.ts'
import { isConnectionLost } from '../store/guarded-transactions.ts'
import { connect, type OwnServer } from './connect.ts'
import { greet, limits, type Outcome, type Row, sendReads } from './read-messages.ts'

/** Sessions of the observer, each with one connection that serves one read at a time and keeps nothing of it. */
export type Observer = {
  /**
   * Runs a statement in a read-only transaction with short timeouts, its names resolved in pg_catalog alone, in one message; then rolls back, and
   * discards all that a session can keep.
   * @returns its rows
   * @throws the error of Postgres; `code: 'OBSERVER_STUCK'` if it runs on though its time is up, `'OBSERVER_ENDED'` if it ends its session again and
   *   again, `'OBSERVER_UNANSWERED'` if nothing came back in time, and nothing shows that Postgres runs it
   */
  run: (statement: string) => Promise<Row[]>
  /**
   * Runs several, each as by `run`, one after the other, in few messages. None of them hears of the others.
   * @returns what each came to
   * @throws what says nothing of any of them: Postgres is away
   */
  runAll: (statements: readonly string[]) => Promise<Outcome[]>
  close: () => Promise<void>
}

export type ObserverOptions = {
  /** `connectObserver` */
  connect: () => Sql
  /** Reads at the same time */
  sessions: number
  /** Milliseconds after which a read is given up: longer than Postgres' own timeouts, which code that it should stop can ignore */
  patience?: number
  /** Reads after which a session is replaced: Postgres remembers every table that a session ever saw, 95 kB each, and to begin a session costs as much as ten reads */
  most?: number
  /**
   * Hears of a read that was given up, and ends it if it still runs.
   * @param pid the session's process; undefined if Postgres never answered in it
   * @returns false if it does not run, or nobody says that it does
   */
  onStuck?: (pid: number | undefined) => unknown
}

type Session = { sql: Sql; reads: number }

/**
 * Milliseconds for one message, after which its session is replaced. Code of a cluster that runs after all can have the guard planned anew under settings of its own, and
 * no rollback takes a plan back: it finds nothing else, but is slow for the clusters that come next.
 */
const slow = 200
/** Times that a read ends its session before that is said of it. */
const endings = 2

/** Opens the observer's sessions; each connects when it is first needed. */
export function openObserver({ connect, sessions, patience = 10_000, most = 100, onStuck }: ObserverOptions): Observer {
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

  const send = async (statements: readonly string[]): Promise<(Outcome | undefined)[]> => {
    const session = await take()
    let pid: number | undefined
    try {
      if (closed) throw Object.assign(new Error('the observer is closed'), { code: 'CONNECTION_ENDED' })
      session.reads += statements.length
      const begun = performance.now()
      // Why it fails, the reads say themselves.
      void greet(session.sql).then(
        (process) => {
          pid = process
        },
        () => {},
      )
      const outcomes = await within(sendReads(session.sql, statements), patience)
      if (performance.now() - begun > slow) session.reads = most
      return outcomes
    } catch (error) {
      if (!closed && (isStuck(error) || isConnectionLost(error))) renew(session, 0)
      if (!isStuck(error)) throw error
      // A Postgres that hangs, or cannot be reached, is no cluster's doing.
      const runs = await within(Promise.resolve(onStuck?.(pid)), patience).catch(() => false)
      throw pid === undefined || runs === false ? unanswered() : error
    } finally {
      if (session.reads >= most && !closed) renew(session, 1)
      give(session)
    }
  }
  // A session may have been ended by whom it was for, by an admin, or by its server's own end.
  const isServed = () =>
    send(['select 1']).then(
      () => true,
      () => false,
    )
  const runAll = async (statements: readonly string[]): Promise<Outcome[]> => {
    const outcomes = new Map<number, Outcome>()
    const ended = new Map<number, number>()
    let together = statements.length
    for (let left = [...statements.keys()]; left.length > 0; left = left.filter((n) => !outcomes.has(n))) {
      const some = left.slice(0, together)
      try {
        const came = await send(some.map((n) => statements[n] as string))
        for (const [i, outcome] of came.entries()) if (outcome) outcomes.set(some[i] as number, outcome)
      } catch (error) {
        if (!isStuck(error) && !isConnectionLost(error)) throw error
        // Which of them it was nobody knows: Postgres keeps answers back until there are 8 kB, or no more to come.
        together = 1
        const [one = 0, ...others] = some
        if (others.length > 0) continue
        if (isStuck(error)) {
          outcomes.set(one, { error })
          continue
        }
        if (!(await isServed())) throw error
        const times = (ended.get(one) ?? 0) + 1
        ended.set(one, times)
        if (times === endings) outcomes.set(one, { error: endedSession() })
      }
    }
    return statements.map((_, n) => outcomes.get(n) as Outcome)
  }

  return {
    run: async (statement) => {
      const [outcome] = await runAll([statement])
      if (!outcome || 'error' in outcome) throw outcome?.error
      return outcome.rows
    },
    runAll,
    close: async () => {
      closed = true
      for (const next of waiting.splice(0)) next({ sql: undefined as never, reads: 0 })
      await Promise.all(free.map(({ sql }) => sql.end({ timeout: 1 })))
    },
  }
}

const stuck = 'OBSERVER_STUCK'

const endedSession = () => Object.assign(new Error('a read ended its session'), { code: 'OBSERVER_ENDED' })

const unanswered = () => Object.assign(new Error('Postgres does not answer'), { code: 'OBSERVER_UNANSWERED' })

const isStuck = (error: unknown): boolean => (error as { code?: unknown } | undefined)?.code === stuck

/**
 * What holds in each of its sessions from the moment that it is connected, and what RESET ALL goes back to: to set it for each read cost as much as
 * a read of a small table.
 */
const settings = {
  // Not default_transaction_read_only: of several hosts the one that takes writes is looked for, and with it none does.
  statement_timeout: limits.statement,
  lock_timeout: limits.lock,
  idle_in_transaction_session_timeout: limits.transaction,
  // The guard's one query is planned once a session; left alone, Postgres plans it for each of the first five reads.
  plan_cache_mode: 'force_generic_plan',
  // Tables here may have no statistics yet: an index that gives the order is always the right one.
  enable_sort: 'off',
  enable_bitmapscan: 'off',
  enable_seqscan: 'off',
} as const

/** Opens one connection of the observer's, for `openObserver`. */
export const connectObserver = (server: OwnServer, password: string): Sql =>
  connect(server, { database: clustersDatabase, login: { user: observerRole, password }, max: 1, settings })

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
