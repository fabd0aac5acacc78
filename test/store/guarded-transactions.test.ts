import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { AppError } from '../../src/errors.ts'
import { type Database, openDatabase } from '../../src/store/database.ts'
import { testDatabase } from '../postgres.ts'
import { suite } from '../suite.ts'

const test = suite('transactions that lose their connection')
let database: Database
let close: () => Promise<void>
let uncaught = 0
const count = () => {
  uncaught++
}
test.before(async () => {
  const made = await testDatabase()
  close = made.close
  database = openDatabase(made.url, { pool: 2 })
  await database.sql`create table notes (text text)`
  process.on('uncaughtException', count)
})
test.after(async () => {
  process.off('uncaughtException', count)
  await database.close()
  await close()
})

const suicide = sql`select pg_terminate_backend(pg_backend_pid())`
const pid = sql`select pg_backend_pid() as pid`
const notes = async () => (await database.sql`select text from notes order by text`).map((row) => row.text)

const ask = () =>
  Array.from({ length: 8 }, () => [
    database.sql`select 1`,
    database.db.execute(sql`select 1`),
  ]).flat() as Promise<unknown>[]

/**
 * Rejected in time, nothing uncaught, and both pools answer again on all their connections. Each may first pass on once what the
 * dead backend said last, which is postgres.js' way.
 */
async function survives(transaction: Promise<unknown>) {
  assert.is(await transaction.then(() => 'done').catch(() => 'rejected'), 'rejected')
  await sleep(50)
  assert.is(uncaught, 0)
  await Promise.allSettled(ask())
  await Promise.all(ask())
}

test('in the middle of a statement', async () => {
  await survives(database.db.transaction((tx) => tx.execute(suicide)))
  await survives(database.sql.begin((tx) => tx`select pg_terminate_backend(pg_backend_pid())`))
})

test('within savepoints', async () => {
  const inner = database.db.transaction((tx) =>
    tx.transaction((two) => two.transaction((three) => three.execute(suicide))),
  )
  await survives(inner)
})

test('while idle: what comes later neither ends the process nor runs outside of the transaction', async () => {
  let went: unknown
  const idle = database.db.transaction(async (tx) => {
    await tx.execute(sql`insert into notes values ('before')`)
    const [row] = await tx.execute<{ pid: number }>(pid)
    await database.sql`select pg_terminate_backend(${row?.pid as number})`
    await sleep(100)
    went = await tx.execute(sql`insert into notes values ('after')`).catch((error: Error) => error)
  })
  await survives(idle)
  await sleep(200)
  assert.ok(went instanceof Error)
  assert.equal(await notes(), [])
})

const aborted = () => Object.assign(new Error('aborted'), { code: 'ECONNRESET' })
const refusals: Record<string, () => Error> = {
  'a socket that is not this connection': aborted,
  'a refusal because of one': () => new AppError('request_invalid', { cause: aborted() }),
  "another connection's end": () => Object.assign(new Error('gone'), { code: 'CONNECTION_CLOSED', severity: 'FATAL' }),
}
for (const [what, make] of Object.entries(refusals)) {
  test(`the body's own ${what} rolls back, within savepoints too, and gives the connection back`, async () => {
    const refusal = make()
    // Twice as often as the pool has connections: one that stays behind shows as a hang.
    for (let i = 0; i < 4; i++) {
      const flat = database.sql.begin(async (tx) => {
        await tx`insert into notes values ('undone')`
        throw refusal
      })
      const nested = database.db.transaction((tx) =>
        tx.transaction(async (inner) => {
          await inner.execute(sql`insert into notes values ('undone')`)
          throw refusal
        }),
      )
      const ended = [flat, nested].map((transaction) => transaction.catch((error: Error) => error))
      for (const thrown of await Promise.all(ended)) assert.is(thrown, refusal)
    }
    assert.equal(await notes(), [])
  })
}

test("a savepoint's own statement that finds the connection gone", async () => {
  await survives(
    database.db.transaction(async (tx) => {
      const [row] = await tx.execute<{ pid: number }>(pid)
      await database.sql`select pg_terminate_backend(${row?.pid as number})`
      await tx.transaction((inner) => inner.execute(sql`select 1`))
    }),
  )
})

test('Postgres itself ends a transaction that nobody goes on with, later than any upload may take', async () => {
  const [hot] = await database.sql`show idle_in_transaction_session_timeout`
  const [row] = await database.db.execute(sql`show idle_in_transaction_session_timeout`)
  assert.equal([hot, row], Array(2).fill({ idle_in_transaction_session_timeout: '6min' }))
})

test('an error of the body itself still rolls back, and success still commits', async () => {
  const failed = database.db.transaction(async (tx) => {
    await tx.execute(sql`insert into notes values ('undone')`)
    throw new Error('no')
  })
  assert.is(await failed.catch((error: Error) => error.message), 'no')
  await database.db.transaction(async (tx) => {
    await tx.execute(sql`insert into notes values ('kept')`)
    await tx
      .transaction(async (inner) => {
        await inner.execute(sql`insert into notes values ('savepoint')`)
        await inner.execute(sql`select 1/0`)
      })
      .catch(() => {})
  })
  assert.equal(await notes(), ['kept'])
})
