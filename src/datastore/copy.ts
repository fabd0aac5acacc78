import type { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Sql, TransactionSql } from 'postgres'
import { AppError } from '../errors.ts'
import { ownerRole } from '../k3s/datastore-names.ts'
import { guarded, refusal, saysHeld } from './guard.ts'
import { patience } from './patience.ts'
import { declareWithin } from './schemas.ts'

/** Milliseconds that a whole copy may take: an hour, for a cluster that is gigabytes large. */
const hour = 3_600_000

/** Milliseconds for a table that somebody holds, and of one try for what the planner locks. */
const patient = { all: 5_000, one: 500 } as const

const hourLong = [
  `set local lock_timeout = ${patient.one}`,
  `set local statement_timeout = ${hour}`,
  `set local idle_in_transaction_session_timeout = ${hour}`,
  "set local search_path = ''",
].join('; ')

/** How a copy begins, and nothing else of the observer's. */
export const copying = 'copy ('

const columns = [
  ['id', 'int8'],
  ['name', 'text'],
  ['created', 'int4'],
  ['deleted', 'int4'],
  ['create_revision', 'int8'],
  ['prev_revision', 'int8'],
  ['lease', 'int4'],
  ['value', 'bytea'],
  ['old_value', 'bytea'],
] as const
const names = columns.map(([name]) => name).join(', ')
const asColumns = columns.map((column) => column.join(' ')).join(', ')
const all = (table: string) =>
  `select ${columns.map((column) => column.join('::')).join(', ')} from only ${table} order by id`

/**
 * Copies all rows of a cluster's table, as of one moment, under the guard of guard.ts.
 * @param observer a session of the observer, for this alone
 * @param use takes the rows as COPY's text format has them, one a line
 * @throws AppError `state_conflict` if there is no table, or none of K3s; what `use` throws
 */
export async function copyOut(observer: Sql, clusterId: string, use: (rows: Readable) => Promise<void>): Promise<void> {
  const query = guarded(clusterId, { columns: asColumns, text: all })
  const broken: { error?: unknown } = {}
  try {
    await withTable(observer, clusterId, async (tx) => {
      const rows = await tx.unsafe(`${copying}${query}) to stdout`).readable()
      // Who takes the rows may not listen yet when Postgres refuses: an error that nobody hears ends the process. It is thrown to who reads then.
      rows.on('error', () => {})
      await used(rows, use).catch((error) => {
        // Postgres may refuse what it has begun.
        if (error.name === 'PostgresError') throw error
        broken.error = error
        // Nobody takes the rest, so the session cannot be told anything any more. Its socket is let go on once more: it never closes over what is unread.
        const letGo = () => letIn(rows)
        void observer
          .end({ timeout: 0 })
          .then(letGo)
          .catch(() => {})
        throw error
      })
    })
  } catch (error) {
    const first = 'error' in broken ? broken.error : error
    // Of whoever takes the rows there may be sockets' errors, too: those have other codes.
    if (/^CONNECTION_/.test(`${(first as { code?: unknown } | undefined)?.code}`)) throw away(first)
    if ('error' in broken) throw broken.error
    const found = refusal(error)
    if (found.kind === 'absent') throw conflict('its table is not there: no server of it has started yet')
    throw conflict(found.kind === 'late' ? `it cannot be read now: ${found.what}` : `datastore_tampered: ${found.what}`)
  }
}

/**
 * Does something in a transaction that holds the cluster's table. The guard does not wait for one that somebody else holds, and rows are handed out once: so
 * no row is read at first, only what planning meets, and each try is a transaction of its own.
 */
async function withTable(observer: Sql, clusterId: string, work: (tx: TransactionSql) => Promise<void>): Promise<void> {
  const hold = guarded(clusterId, { columns: asColumns, text: (table) => `${all(table)} limit 0` })
  const again = patience(patient.all)
  for (let held = false; ; ) {
    try {
      await observer.begin('read only', async (tx) => {
        await tx.unsafe(hourLong)
        await tx.unsafe(hold)
        held = true
        await work(tx)
        throw over
      })
    } catch (error) {
      if (error === over) return
      if (held || !saysHeld(error) || !(await again())) throw error
    }
  }
}

/** Ends a transaction with a rollback, which takes back what code of the cluster did in it. */
const over = new Error('all is read')

// postgres.js 3.4.9 pauses its socket when rows come faster than they are taken, and lets it go on when the stream asks for more: never, if
// the last rows came before that. What comes after them (CommandComplete) is let in by hand.
async function used(rows: Readable, use: (rows: Readable) => Promise<void>): Promise<void> {
  try {
    await use(rows)
  } finally {
    letIn(rows)
  }
}

function letIn(rows: Readable): void {
  try {
    rows._read(0)
  } catch {
    // Its connection is gone, and nothing comes any more.
  }
}

/**
 * Makes a cluster's table and fills it, as its owner; all of it or nothing. Nothing but data is taken from who brings the rows.
 * @param sql our own role in the clusters' database
 * @param rows as `copyOut` gives them
 * @param replace drop what is there, whatever it is; else a table that is there is refused
 * @throws AppError `state_conflict`; what `rows` throws
 */
export async function copyIn(
  sql: Sql,
  clusterId: string,
  rows: AsyncIterable<Uint8Array>,
  replace: boolean,
): Promise<void> {
  const owner = ownerRole(clusterId)
  await sql.begin(async (tx) => {
    await tx.unsafe(`set local statement_timeout = ${hour}; set local idle_in_transaction_session_timeout = ${hour}`)
    if (replace) await tx.unsafe(`drop schema if exists ${owner} cascade`)
    await declareWithin(tx, clusterId)
    const [there] = await tx`select from pg_class where relname = 'kine' and relnamespace = ${owner}::regnamespace`
    if (there) throw conflict('its datastore is not empty: say replace, which drops what is there')
    await tx.unsafe(`set local role ${owner}`)
    await makeTable(tx, owner)
    await fill(tx, `copy ${owner}.kine (${names}) from stdin`, rows)
    await tx.unsafe(
      `select setval(pg_get_serial_sequence('${owner}.kine', 'id'), coalesce(max(id), 1), max(id) is not null) from only ${owner}.kine`,
    )
    await tx.unsafe('reset role')
  })
}

/**
 * COPY FROM STDIN. postgres.js 3.4.9 has settled the query by the time that the first row is asked for, and drops what Postgres says of the
 * rows after the last one was sent: whoever waits for its stream to finish waits for ever. So its way to fail is looked at.
 */
async function fill(tx: TransactionSql, statement: string, rows: AsyncIterable<Uint8Array>): Promise<void> {
  const query = tx.unsafe(statement) as unknown as {
    reject: (error: unknown) => void
    writable: () => Promise<Writable>
  }
  const refused = new Promise<never>((_, fail) => {
    const { reject } = query
    query.reject = (error) => {
      fail(error)
      reject(error)
    }
  })
  refused.catch(() => {})
  const sink = await query.writable()
  const sent = pipeline(rows, sink)
  try {
    await Promise.race([sent, refused])
  } catch (error) {
    sent.catch(() => {})
    sink.destroy()
    throw error
  }
}

/** As kine 0.16.3, which K3s v1.36.3 embeds, makes it itself (kine pkg/drivers/pgsql/pgsql.go; seen on a real K3s). */
async function makeTable(tx: TransactionSql, owner: string): Promise<void> {
  await tx.unsafe(`create table ${owner}.kine (
    id bigserial primary key, name text collate "C", created integer, deleted integer, create_revision bigint,
    prev_revision bigint, lease integer, value bytea, old_value bytea)`)
  for (const [index, on] of indexes) await tx.unsafe(`create ${index} on ${owner}.kine (${on})`)
}

const indexes = [
  ['index kine_name_index', 'name'],
  ['index kine_name_id_index', 'name, id'],
  ['index kine_id_deleted_index', 'id, deleted'],
  ['index kine_prev_revision_index', 'prev_revision'],
  ['unique index kine_name_prev_revision_uindex', 'name, prev_revision'],
  ['index kine_list_query_index', 'name, id desc, deleted'],
] as const

const away = (cause: unknown) =>
  new AppError('datastore_unavailable', { detail: 'PostgreSQL ended the copy, or went away', cause })

const conflict = (detail: string) => new AppError('state_conflict', { detail })
