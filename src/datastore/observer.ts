import type { Sql } from 'postgres'

/** Sessions of the observer, each with one connection that serves one read at a time and keeps nothing of it. */
export type Observer = {
  /**
   * Sends statements in one message, then rolls back and discards all that a session can keep.
   * @returns the rows of the last one
   * @throws the error of Postgres; `code: 'OBSERVER_STUCK'` if nothing came back in time
   */
  run: (batch: string) => Promise<Record<string, unknown>[]>
  close: () => Promise<void>
}

export type ObserverOptions = {
  /** Opens a client with one connection, logged in as the observer */
  connect: () => Sql
  /** Reads at the same time */
  sessions: number
  /** Milliseconds after which a read is given up: longer than Postgres' own timeouts, which code that it should stop can ignore */
  patience?: number
  /** Reads after which a session is replaced: Postgres remembers every table that a session ever saw */
  most?: number
}

type Session = { sql: Sql; reads: number }

/** Opens the observer's sessions; each connects when it is first needed. */
export function openObserver({ connect, sessions, patience = 10_000, most = 500 }: ObserverOptions): Observer {
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
    run: async (batch) => {
      const session = await take()
      try {
        if (closed) throw Object.assign(new Error('the observer is closed'), { code: 'CONNECTION_ENDED' })
        return await send(session.sql, batch, patience)
      } catch (error) {
        if ((error as { code?: unknown }).code === stuck) renew(session, 0)
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

/**
 * One message for all of a read: a connection that is replaced in between cannot run its second half without its first. ROLLBACK, so that what a notification, a setting or a
 * cursor would have kept is gone; then DISCARD ALL for what no transaction takes back.
 */
async function send(sql: Sql, batch: string, patience: number): Promise<Record<string, unknown>[]> {
  const all = Promise.allSettled([sql.unsafe(batch), sql.unsafe('rollback'), sql.unsafe('discard all')])
  const [read, rolledBack, discarded] = await within(all, patience)
  if (read.status === 'rejected') throw read.reason
  if (rolledBack.status === 'rejected') throw rolledBack.reason
  if (discarded.status === 'rejected') throw discarded.reason
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
