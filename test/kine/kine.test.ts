import { readFileSync } from 'node:fs'
import postgres from 'postgres'
import * as assert from 'uvu/assert'
import { emptyDatabase, type TestDatabase } from '../postgres.ts'
import { suite } from '../suite.ts'
import { testsWithKine } from './program.ts'
import { type Kine, startKine } from './start.ts'

const test = suite('the real kine, as tests use it', { timeout: 60_000 })
const withKine = testsWithKine(test)
let database: TestDatabase
let kine: Kine

test.before(async () => {
  database = await emptyDatabase()
})
test.after(() => database.close())

withKine('says why when its endpoint refuses it', async () => {
  const url = new URL(database.url)
  url.password = 'wrong'
  const refusal = /password authentication failed/
  try {
    await startKine({ endpoint: url.href, refusal })
    assert.unreachable()
  } catch (error) {
    assert.match((error as Error).message, refusal)
  }
})

withKine('creates a key once, changes it only as of the revision that was read, deletes it once', async () => {
  kine = await startKine({ endpoint: database.url })
  const { client } = kine
  try {
    const first = (await client.create('/registry/a', Buffer.from('one'))) as number
    assert.is(await client.create('/registry/a', Buffer.from('two')), undefined)
    assert.ok(await client.update('/registry/a', Buffer.from('two'), first))
    assert.is(await client.update('/registry/a', Buffer.from('three'), first), undefined)
    const row = await client.get('/registry/a')
    assert.is(row?.value.toString(), 'two')
    assert.equal(
      (await client.list('/registry/')).map(({ key }) => key),
      ['/registry/a', '/registry/health'],
    )
    assert.is(await client.delete('/registry/a', first), false)
    assert.is(await client.delete('/registry/a', row?.revision as number), true)
    assert.is(await client.get('/registry/a'), undefined)
  } finally {
    await kine.stop()
  }
})

withKine('makes the table that K3s made', async () => {
  const sql = postgres(database.url, { max: 1 })
  try {
    const indexes = await sql`select indexdef from pg_indexes where tablename = 'kine'`
    const columns = await sql`select column_name || '|' || data_type as line from information_schema.columns
      where table_name = 'kine' order by ordinal_position`
    const captured = readFileSync(new URL('../fixtures/k3s-v1.36.3/kine-table.txt', import.meta.url), 'utf8').split(
      '\n',
    )
    assert.equal(
      indexes.map(({ indexdef }) => indexdef).sort(),
      captured.filter((line) => line.startsWith('CREATE')).sort(),
    )
    for (const { line } of columns)
      assert.ok(
        captured.some((one) => one.startsWith(line)),
        line,
      )
  } finally {
    await sql.end()
  }
})
