import type { Sql } from 'postgres'

export type Row = Record<string, unknown>

/** What a read came to. */
export type Outcome = { rows: Row[] } | { error: unknown }

/**
 * Milliseconds: kine's own statements on a small table take one. `lock` is for what the planner locks, whom K3s never keeps waiting; a table that is held is
 * asked for again (guard.ts) for as long as `held` says.
 */
export const limits = { lock: 100, held: 500, statement: 3_000, transaction: 5_000 } as const

/** Characters that the rows of several reads may have together, beside those of the first: about what one read can bring along. */
const mostCharacters = 6_000_000

const begin = 'begin read only'
// PostgreSQL before 17 does not know it, and would let no session in that begins with it.
const transactionTimeout = `set local transaction_timeout = ${limits.transaction}`

const forgotten = 'pg_advisory_unlock_all'

// All of DISCARD ALL (PostgreSQL's documentation lists it) but DISCARD PLANS: the plan of the check that all reads share is kept.
const forget = [
  'close all',
  'set session authorization default',
  'reset all',
  'deallocate all',
  'unlisten *',
  `select ${forgotten}()`,
  'discard temp',
  'discard sequences',
].join('; ')

// A transaction of its own: what precedes a BEGIN in one message becomes part of its transaction, and would be rolled back with it.
const between = `; rollback; begin; ${forget}; commit; `

/**
 * The first message of all: whoever does not answer it has not begun with what follows.
 * @returns the process that runs what this session is sent
 */
export async function greet(sql: Sql): Promise<number> {
  // Sent at once, not once somebody waits for it: the reads go out before that.
  const [row] = await sql.unsafe<{ pid: number }[]>('select pg_backend_pid() as pid').execute()
  return (row as { pid: number }).pid
}

/**
 * Sends reads, one after the other, each in a read-only transaction that is rolled back, and followed by all that DISCARD ALL forgets, for what no transaction
 * takes back, before the next one begins. They share a message, since to wait for each costs node as much again as what it reads; Postgres
 * parses it as a whole before it runs any of it, so no read changes what the others say. What ends the last read is a
 * message of its own: an error ends the message in which it happens.
 *
 * One message also because of a connection that is replaced in between: it cannot run the second half of a read without its first.
 * @returns what each came to: of the first at least, and of none behind one that failed; undefined for one whose rows had no room
 * @throws what ended the session, or kept it from beginning: whose doing that is nobody knows
 */
export async function sendReads(sql: Sql, statements: readonly string[]): Promise<(Outcome | undefined)[]> {
  const since17 = Number.parseInt(String(sql.parameters.server_version), 10) >= 17
  const opening = since17 ? `${begin}; ${transactionTimeout}; ` : `${begin}; `
  const taken = takeIn()
  const reads = sql.unsafe(statements.map((statement) => opening + statement).join(between)).forEach(taken.row)
  const [read, ended] = await Promise.allSettled([reads, sql.unsafe(`rollback; ${forget}`)])
  // PostgreSQL answers in order: those before the one that failed are over.
  const failed = [read, ended].find((one) => one.status === 'rejected')
  if (failed && (failed.reason as { severity?: unknown } | undefined)?.severity !== 'ERROR') throw failed.reason
  if (failed) return [...taken.over, { error: failed.reason }]
  taken.end()
  return taken.over
}

/** Sorts a message's rows by its reads. Those of the first always have room. */
function takeIn() {
  const over: (Outcome | undefined)[] = []
  let rows: Row[] = []
  let room = mostCharacters
  const end = () => {
    over.push(room < 0 ? undefined : { rows })
    rows = []
  }
  const row = (one: Row) => {
    if (forgotten in one) return end()
    if (over.length > 0) room -= charactersOf(one)
    if (room >= 0) rows.push(one)
  }
  return { over, row, end }
}

const charactersOf = (row: Row): number =>
  Object.values(row).reduce<number>((sum, value) => sum + (typeof value === 'string' ? value.length : 0), 0)
