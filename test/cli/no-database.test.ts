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
  ['doctor', 'datastore', '--cluster', 'a'],
  ['cluster', 'backup', 'a', '-'],
]

test('refuses a data directory without a database, and leaves nothing behind', async () => {
  const empty = join(folder, 'empty')
  mkdirSync(empty)
  const missing = join(folder, 'missing')
  for (const [directory, command] of [
    ...commands.map((command) => [empty, command] as const),
    [missing, ['doctor', 'datastore', '--cluster', 'a']] as const,
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
    const end = await rollcall(['doctor', 'datastore', '--cluster', 'a', '--data-dir', directory], { env })
    assert.is(end.code, 1)
    assert.match(
      end.err,
      /The database at DATABASE_URL is empty: start `rollcall serve` on it first, or `rollcall migrate`/,
    )
    assert.is(existsSync(directory), false)
  } finally {
    await database.close()
  }
})

test('works before the first start where it makes a token or the pins', async () => {
  const database = await emptyDatabase()
  const here = ['--data-dir', join(folder, 'first')]
  const env = { DATABASE_URL: database.url }
  try {
    const token = await rollcall(['token', 'create', '--name', 'a', '--scope', 'read', ...here], { env })
    assert.match(token.out, /^rc_[A-Za-z0-9_-]{43}\n$/)
    assert.match(token.err, /made the sealing key .*first\/sealing\.key: KEEP A COPY/)
    const pin = await rollcall(['pin', ...here], { env })
    assert.match(pin.out, /^sha256\/\//)
    assert.is((await rollcall(['pin', ...here], { env })).out, pin.out)
  } finally {
    await database.close()
  }
})
