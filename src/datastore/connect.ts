import postgres, { type Sql } from 'postgres'
import { backoff, uncompiled } from '../store/database.ts'
import { guardTransactions } from '../store/guarded-transactions.ts'
import { lastingClient } from '../store/lasting-client.ts'

/** How our own role reaches the server that holds the roll, as for `openDatabase`. */
export type OwnServer = { url: string; connection: postgres.Options<Record<string, never>> }

export type Session = {
  database?: string
  /** Another role than our own */
  login?: { user: string; password: string }
  max: number
  /** What holds in its sessions, beside what holds in all of them */
  settings?: Readonly<Record<string, string | number>>
  /** It is not given back for being idle, and waits for less than the others. */
  lasts?: boolean
}

/** Seconds after which an idle connection is given back. */
const idle = 30

/**
 * Milliseconds. Nodes may lock what they own, for ever: nothing of ours waits long for them.
 */
const patience = {
  lock_timeout: 5_000,
  statement_timeout: 30_000,
  idle_in_transaction_session_timeout: 60_000,
} as const

/** Opens a small pool beside the roll's own: for the clusters' database, or as another role. Connects when first used. */
export function connect(
  { url, connection }: OwnServer,
  { database, login, max, settings: own = {}, lasts = false }: Session,
): Sql {
  const settings = {
    ...connection.connection,
    ...patience,
    ...uncompiled,
    application_name: 'rollcall',
    // Nothing of ours may ever resolve a name in a schema that a cluster owns (reference: hostile schemas).
    search_path: 'pg_catalog',
    // Whatever an admin made the default: who waits for a lock must see what was committed before it came.
    default_transaction_isolation: 'read committed',
    ...own,
  }
  const options = {
    onnotice: () => {},
    connect_timeout: 10,
    backoff,
    ...connection,
    ...(database === undefined ? {} : { database }),
    ...login,
    ...(lasts ? {} : { idle_timeout: idle }),
    // Names of a cluster's own types are none of our business.
    fetch_types: false,
    connection: settings,
    max,
  } as postgres.Options<Record<string, never>>
  return lastingClient(() => guardTransactions(postgres(url, options)))
}
