import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres, { type Sql } from 'postgres'
import * as assert from 'uvu/assert'
import { unlock } from '../../src/store/sealing-keys.ts'
import { serverKeys, sharedSecret } from '../../src/store/server-secrets.ts'
import { type TestDatabase, testDatabase } from '../postgres.ts'
import { suite } from '../suite.ts'

const now = 1_795_396_247
const directory = mkdtempSync(join(tmpdir(), 'rollcall-keys-'))
const open: { database: TestDatabase; sql: Sql }[] = []
let n = 0

const database = async () => {
  const created = await testDatabase()
  const sql = postgres(created.url, { max: 4, onnotice: () => {} })
  open.push({ database: created, sql })
  return sql
}
const file = () => join(directory, `${++n}.key`)
const never = () => {
  throw new Error('a key was made')
}
const bytes = (fill: number) => () => new Uint8Array(32).fill(fill)
const line = (fill: number) => `${Buffer.alloc(32, fill).toString('base64')}\n`
const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => 'unlocked',
    (error: Error) => error.message,
  )

const test = suite('sealing keys')

test.after(async () => {
  for (const { database, sql } of open) {
    await sql.end()
    await database.close()
  }
  rmSync(directory, { recursive: true })
})

test('a missing file is never replaced on a database that is sealed', async () => {
  const sql = await database()
  const path = file()
  await unlock(sql, path, now, bytes(1))
  rmSync(path)
  assert.match(
    await refusal(unlock(sql, path, now, never)),
    /missing, and this database is sealed under key [0-9a-f]{8}/,
  )
  assert.is(existsSync(path), false)
})

test('a key of another database is refused, and stays as it is', async () => {
  const sql = await database()
  const path = file()
  await unlock(sql, path, now, bytes(1))
  writeFileSync(path, line(2))
  assert.match(await refusal(unlock(sql, path, now, never)), /does not fit this database/)
  assert.is(readFileSync(path, 'utf8'), line(2))
})

test('a damaged file is refused by its line, without its content', async () => {
  const sql = await database()
  const path = file()
  await unlock(sql, path, now, bytes(1))
  const text = readFileSync(path, 'utf8')
  writeFileSync(path, text.replace(/AQEB/, 'AQEC'))
  assert.is(
    await refusal(unlock(sql, path, now, never)),
    `Line 3 of the sealing key file ${path} is damaged: bring back its copy`,
  )
  writeFileSync(path, '# nothing\n')
  assert.match(await refusal(unlock(sql, path, now, never)), /holds no key/)
})

test('a database whose check values are gone is refused', async () => {
  const sql = await database()
  const path = file()
  const { vault } = await unlock(sql, path, now, bytes(1))
  await serverKeys(sql, vault, now)
  await sql`delete from sealing_keys`
  assert.match(await refusal(unlock(sql, path, now, never)), /restore it from a backup/)
})

test('on an empty database a file is made, for its owner’s eyes only, and used from then on', async () => {
  const sql = await database()
  const path = file()
  assert.is((await unlock(sql, path, now, bytes(1))).made, true)
  assert.is(statSync(path).mode & 0o777, 0o600)
  assert.is((await unlock(sql, path, now, never)).made, false)
})

test('a key that the admin brought is used instead of making one', async () => {
  const sql = await database()
  const path = file()
  writeFileSync(path, line(3))
  assert.is((await unlock(sql, path, now, never)).made, false)
})

test('of two servers that start together with directories of their own, one makes the key and the other is refused', async () => {
  const sql = await database()
  const paths = [file(), file()]
  const results = await Promise.all(paths.map((path, i) => refusal(unlock(sql, path, now, bytes(i + 1)))))
  assert.is(results.filter((result) => result === 'unlocked').length, 1)
  assert.is(paths.filter((path) => existsSync(path)).length, 1)
})

test('a second key opens what the first one sealed, and neither may then be missing', async () => {
  const sql = await database()
  const path = file()
  const before = await unlock(sql, path, now, bytes(1))
  const secret = await sharedSecret(sql, before.vault, 'x', now, async () => 'kept')
  writeFileSync(path, line(2) + line(1))
  const { vault } = await unlock(sql, path, now, never)
  assert.equal(await sharedSecret(sql, vault, 'x', now, never), secret)
  writeFileSync(path, line(2))
  assert.match(await refusal(unlock(sql, path, now, never)), /does not fit this database/)
})

test('servers that start together agree on every shared secret', async () => {
  const sql = await database()
  const { vault } = await unlock(sql, file(), now, bytes(1))
  const all = await Promise.all(Array.from({ length: 4 }, () => serverKeys(sql, vault, now)))
  for (const keys of all) assert.equal(keys, all[0])
  assert.is(all[0]?.nonce.length, 32)
  assert.not.equal(all[0]?.nonce, all[0]?.nodePassword)
})
