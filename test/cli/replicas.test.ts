import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import * as assert from 'uvu/assert'
import { emptyDatabase, type TestDatabase } from '../postgres.ts'
import { ask, rollcall, serving } from '../rollcall.ts'
import { suite } from '../suite.ts'

const directory = mkdtempSync(join(tmpdir(), 'rollcall-replicas-'))
const key = join(directory, 'shared.key')
let database: TestDatabase

/** A server with a data directory of its own, all with the same database and sealing key. */
const replica = (name: string) => ({
  args: ['--data-dir', join(directory, name)],
  options: { env: { DATABASE_URL: database.url, ROLLCALL_SEALING_KEY_FILE: key } },
})

const test = suite('several servers of one database', { timeout: 240_000 })

test.before(async () => {
  database = await emptyDatabase()
  writeFileSync(key, `${Buffer.alloc(32, 9).toString('base64')}\n`)
})
test.after(async () => {
  await database.close()
  rmSync(directory, { recursive: true, force: true })
})

test('may start together on an empty one, and are one server to devices', async () => {
  const started = ['a', 'b'].map(replica).map(({ args, options }) => serving(args, options))
  const servers = await Promise.all(started)
  const answers = await Promise.all(servers.map(({ https }) => ask(`${https}/readyz`)))
  assert.equal(
    answers.map(({ status }) => status),
    [200, 200],
  )
  assert.is(answers[0]?.pin, answers[1]?.pin)
  for (const server of servers) assert.is((await server.stop()).code, 0)
})

test('refuse one with a sealing key of its own', async () => {
  const { args } = replica('c')
  const end = await rollcall(['pin', ...args], { env: { DATABASE_URL: database.url } })
  assert.is(end.code, 1)
  assert.match(end.err, /is missing, and this database is sealed under key/)
})

test('refuse one that is older than the schema', async () => {
  const sql = postgres(database.url, { max: 1 })
  await sql`insert into drizzle.__drizzle_migrations (hash, created_at) values ('of the future', ${Date.UTC(2199, 0)})`
  await sql.end()
  const { args, options } = replica('a')
  const end = await rollcall(['serve', ...args], options)
  assert.is(end.code, 1)
  assert.match(end.err, /schema is newer than this Rollcall/)
})

test('say that a database cannot be used, without its password', async () => {
  const url = database.url.replace(/:[^:@]*@/, ':wr0ng@')
  const end = await rollcall(['pin', ...replica('a').args], { env: { DATABASE_URL: url } })
  assert.is(end.code, 1)
  assert.match(end.err, /The database at DATABASE_URL cannot be used: password authentication failed/)
  assert.not.match(end.err, 'wr0ng')
})
