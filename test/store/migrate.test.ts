import postgres from 'postgres'
import * as assert from 'uvu/assert'
import { isMigrated, migrate, readJournal } from '../../src/store/migrate.ts'
import { emptyDatabase, type TestDatabase } from '../postgres.ts'
import { suite } from '../suite.ts'

const test = suite('migrations')

const open: { database: TestDatabase; sql: postgres.Sql }[] = []
const empty = async () => {
  const database = await emptyDatabase()
  const sql = postgres(database.url, { max: 1, onnotice: () => {} })
  open.push({ database, sql })
  return { url: database.url, sql }
}

test.after(async () => {
  for (const { database, sql } of open) {
    await sql.end()
    await database.close()
  }
})

test('refuse a schema that is newer than the code, and change nothing', async () => {
  const { url, sql } = await empty()
  await migrate(url)
  await sql`insert into drizzle.__drizzle_migrations (hash, created_at) values ('of the future', ${Date.UTC(2199, 0)})`
  const refusal = await migrate(url).catch((error: Error) => error)
  assert.instance(refusal, Error)
  assert.match((refusal as Error).message, /newer than this Rollcall.*2199.*start the newer Rollcall again/)
})

test('are applied once when four servers start together', async () => {
  const { url, sql } = await empty()
  const results = await Promise.all([migrate(url), migrate(url), migrate(url), migrate(url)])
  const applied = results.map((result) => result.applied).filter((n) => n > 0)
  assert.is(applied.length, 1)
  const [row] = await sql`select count(*)::int as n from drizzle.__drizzle_migrations`
  assert.is(row?.n, applied[0])
})

test('close the database to everybody but its owner', async () => {
  const { url, sql } = await empty()
  await migrate(url)
  const [row] = await sql`select has_database_privilege('public', current_database(), 'connect') as connect,
    has_database_privilege('public', current_database(), 'temporary') as temporary`
  assert.equal(row, { connect: false, temporary: false })
})

test('are known to be there only once they are', async () => {
  const { url, sql } = await empty()
  const missing = await isMigrated(sql, readJournal()).catch((error: { code: string }) => error.code)
  assert.is(missing, '42P01')
  await migrate(url)
  assert.is(await isMigrated(sql, readJournal()), true)
  assert.is(await isMigrated(sql, { ...readJournal(), newest: Date.UTC(2199, 0) }), false)
})
