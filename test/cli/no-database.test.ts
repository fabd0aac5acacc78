import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { emptyDatabase } from '../postgres.ts'
import { rollcall } from '../rollcall.ts'
import { suite } from '../suite.ts'

const test = suite('a command that asks about an installation', { timeout: 240_000 })

const folder = mkdtempSync(join(tmpdir(), 'rollcall-none-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))

const commands = [
  ['pin'],
  ['token', 'create', '--name', 'a', '--scope', 'read'],
  ['doctor', 'datastore', '--cluster', 'a'],
]

test('refuses a data directory without a database, and leaves nothing behind', async () => {
  const empty = join(folder, 'empty')
  mkdirSync(empty)
  const missing = join(folder, 'missing')
  for (const [directory, command] of [
    ...commands.map((command) => [empty, command] as const),
    [missing, ['pin']] as const,
  ]) {
    const end = await rollcall([...command, '--data-dir', directory])
    assert.is(end.code, 1)
    assert.is(end.out, '')
    assert.match(end.err, new RegExp(`${directory} holds no database: start \`rollcall serve\` .*ROLLCALL_DATA_DIR`))
  }
  assert.equal(readdirSync(empty), [])
  assert.is(existsSync(missing), false)
})

test('refuses a database that no server ever started on, and leaves it empty', async () => {
  const database = await emptyDatabase()
  try {
    const directory = join(folder, 'own')
    const env = { DATABASE_URL: database.url }
    const end = await rollcall(['pin', '--data-dir', directory], { env })
    assert.is(end.code, 1)
    assert.match(
      end.err,
      /The database at DATABASE_URL is empty: start `rollcall serve` on it first, or `rollcall migrate`/,
    )
    assert.is(existsSync(directory), false)
    assert.is((await rollcall(['migrate', '--data-dir', directory], { env })).code, 0)
    assert.match((await rollcall(['pin', '--data-dir', directory], { env })).out, /^sha256\/\//)
  } finally {
    await database.close()
  }
})
