import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import postgres, { type Sql } from 'postgres'
import { guardTransactions } from './guarded-transactions.ts'
import { lastingClient } from './lasting-client.ts'
import { type Listening, listen } from './listen.ts'

export type Drizzle = PostgresJsDatabase

/**
 * Two clients, because drizzle changes the type parsers of the one it is given (`sql.json()` and dates then throw on it):
 * `db` for everything, `sql` for the hot device statements, which are written by hand and prepared.
 */
export type Database = {
  db: Drizzle
  sql: Sql
  /** Hears what is sent to a channel, on a connection of its own; `ready` is called whenever listening begins. */
  listen: (channel: string, hear: (payload: string) => void, ready?: () => void) => Listening
  close: () => Promise<void>
}

export type DatabaseOptions = {
  /** Connections of the hot client; drizzle's has half of it. */
  pool?: number
  /** Further options for postgres.js, e.g. `ssl` for the embedded server's certificate. */
  connection?: postgres.Options<Record<string, never>>
}

/**
 * Milliseconds after which Postgres ends a transaction that nobody goes on with. Longer than an upload may take (server.ts,
 * `requestTimeout`): an import's transaction waits for its sender.
 */
const idleInTransaction = 360_000

/**
 * Where PostgreSQL was built with LLVM, as distributions do, it compiles each plan that it takes for costly. Ours are all short; and one without an index to
 * use has the price of what is forbidden, 10^10 before PostgreSQL 18: looking at the gate took 3 s of CPU instead of 1 ms.
 */
export const uncompiled = { jit: 'off' } as const

/**
 * Settings of the hot client's sessions. Each of its statements finds its rows by index, whatever a table's size. Without these the planner reads
 * tables whole that were small or empty when it last looked, and goes on with that plan while they grow: 6 ms of CPU an enrolment instead of 0.4.
 */
export const byIndexAlone = { enable_seqscan: 'off', enable_hashjoin: 'off', enable_mergejoin: 'off' } as const

/**
 * Seconds until a connection that failed is tried again. postgres.js counts failures for a whole pool, and waits three times as long after each: when Postgres
 * dies under twelve connections, that is 10 to 20 s from the first moment on, in which a Postgres that is back answers nobody. Chance keeps them from
 * coming back all at once.
 */
export const backoff = (failures: number): number => (0.5 + Math.random() / 2) * Math.min(0.03 * failures, 0.5)

/** Opens both pools. Connects lazily: an unreachable database shows at the first query. */
export function openDatabase(url: string, options: DatabaseOptions = {}): Database {
  const pool = options.pool ?? 8
  const connection = {
    idle_in_transaction_session_timeout: idleInTransaction,
    ...uncompiled,
    ...options.connection?.connection,
  }
  const common = { onnotice: () => {}, connect_timeout: 10, backoff, ...options.connection, connection }
  const open = (max: number, more = {}) =>
    guardTransactions(postgres(url, { ...common, max, connection: { ...connection, ...more } }))
  const sql = lastingClient(() => open(pool, byIndexAlone))
  // Each client that replaces the first must have been through drizzle's hands as well, for its type parsers.
  const forDrizzle = lastingClient(() => {
    const client = open(Math.max(2, pool >> 1))
    drizzle({ client })
    return client
  })
  const db = drizzle({ client: forDrizzle, casing: 'snake_case' })
  const close = async () => {
    await Promise.all([sql.end({ timeout: 5 }), forDrizzle.end({ timeout: 5 })])
  }
  const listenTo: Database['listen'] = (channel, hear, ready) =>
    listen((own) => postgres(url, { ...common, ...own }), channel, hear, ready)
  return { db, sql, listen: listenTo, close }
}
