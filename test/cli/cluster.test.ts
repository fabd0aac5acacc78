import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { ownerRole } from '../../src/k3s/datastore-names.ts'
import { kineTable } from '../datastore/node.ts'
import { rollcall, type Serving, serving } from '../rollcall.ts'
import { suite } from '../suite.ts'
import { type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'

const directory = mkdtempSync(join(tmpdir(), 'rollcall-cluster-'))
chmodSync(directory, 0o700)
const data = ['--data-dir', join(directory, 'data')]
const file = join(directory, 'site-a.backup')

const test = suite('rollcall cluster', { timeout: 120_000 })
let database: Throwaway
let server: Serving
let env: Record<string, string>
let token = ''

test.before(async () => {
  database = await throwawayPostgres(18)
  const url = join(directory, 'database-url')
  writeFileSync(url, database.url)
  writeFileSync(join(directory, 'ca.pem'), database.ca)
  env = {
    DATABASE_URL_FILE: url,
    ROLLCALL_DATASTORE_ADDRESS: `localhost:${database.port}`,
    ROLLCALL_DATASTORE_CA: join(directory, 'ca.pem'),
  }
  server = await serving(data, { env })
  token = (await rollcall(['token', 'create', '--name', 'a', '--scope', 'admin', ...data], { env })).out.trim()
})
test.after(async () => {
  await server?.stop()
  await database?.stop()
  rmSync(directory, { recursive: true, force: true })
})

function post(path: string, body: unknown): Promise<{ status: number; body: { id: string } }> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  return new Promise((done, fail) => {
    const asked = request(
      `${server.https}/api/v1${path}`,
      { method: 'POST', rejectUnauthorized: false, headers, agent: false },
      (answer) => {
        let text = ''
        answer
          .on('data', (chunk) => (text += chunk))
          .on('end', () => done({ status: answer.statusCode ?? 0, body: JSON.parse(text) }))
      },
    )
    asked.on('error', fail).end(JSON.stringify(body))
  })
}

const declare = async (name: string) => {
  const answer = await post('/clusters', {
    name,
    version: 'v1.36.3+k3s1',
    allow_unpinned: true,
    datastore: { kind: 'managed' },
  })
  assert.is(answer.status, 201, JSON.stringify(answer.body))
  return answer.body.id
}

test('wrong usage is told', async () => {
  for (const args of [['backup'], ['backup', 'site-a'], ['erase', 'site-a', file], ['backup', '--x', file]]) {
    assert.is((await rollcall(['cluster', ...args, ...data], { env })).code, 2, args.join(' '))
  }
})

test('serve put a cluster on the PostgreSQL of DATABASE_URL, whose name it tried first', async () => {
  const owner = ownerRole(await declare('site-a'))
  const sql = database.superuser('rollcall_k3s')
  await sql.unsafe(`set role ${owner}; ${kineTable.replace('kine', `${owner}.kine`)}`)
  await sql.unsafe(`insert into ${owner}.kine (name) values ('/registry/a')`)
})

test('a cluster that is not there is told, and leaves no file', async () => {
  const end = await rollcall(['cluster', 'backup', 'nowhere', file, ...data], { env })
  assert.equal([end.code, end.err.split('\n').at(-2)], [1, 'rollcall: there is no cluster nowhere'])
  assert.not.match(end.err, 'THE BACKUP')
  assert.throws(() => statSync(file))
})

test('a cluster that no server has started yet, one whose table is hostile, and a file that cannot be made are told, and leave nothing', async () => {
  await declare('unbegun')
  const owner = ownerRole(await declare('hostile'))
  await database.superuser('rollcall_k3s').unsafe(`create view ${owner}.kine as select 1 as id`)
  const lastWords = async (name: string, to: string) => {
    const { code, err } = await rollcall(['cluster', 'backup', name, to, ...data], { env })
    return [code, err.split('\n').at(-2)]
  }
  assert.equal(await lastWords('unbegun', file), [
    1,
    'rollcall: its table is not there: no server of it has started yet',
  ])
  const [code, words] = await lastWords('hostile', file)
  assert.is(code, 1)
  assert.match(words as string, /^rollcall: datastore_tampered: /)
  const nowhere = join(directory, 'nowhere', 'site-a.backup')
  assert.match((await lastWords('site-a', nowhere))[1] as string, /^rollcall: ENOENT/)
  assert.equal(
    readdirSync(directory).filter((name) => name.includes('backup')),
    [],
  )
})

test('a backup is a file for its owner alone, which says what it is and is not overwritten', async () => {
  const end = await rollcall(['cluster', 'backup', 'site-a', file, ...data], { env })
  assert.is(end.code, 0, end.err)
  assert.match(end.err, 'THE BACKUP OPENS THE CLUSTER')
  assert.is(statSync(file).mode & 0o777, 0o600)
  const again = await rollcall(['cluster', 'backup', 'site-a', file, ...data], { env })
  assert.equal([again.code, again.err.includes('is there already')], [1, true])
})

test('a restore fills a cluster that was declared, and says of when it is', async () => {
  const owner = ownerRole(await declare('site-b'))
  const end = await rollcall(['cluster', 'restore', 'site-b', file, ...data], { env })
  assert.is(end.code, 0, end.err)
  assert.match(end.err, /site-b is site-a as of \d{4}-.*, when it ran K3s v1\.36\.3\+k3s1/)
  const names = await database.superuser('rollcall_k3s').unsafe(`select name from ${owner}.kine`)
  assert.equal(
    names.map(({ name }) => name),
    ['/registry/a'],
  )
  const again = await rollcall(['cluster', 'restore', 'site-b', file, ...data], { env })
  assert.match(again.err, /is not empty: say replace/)
  const replaced = await rollcall(['cluster', 'restore', 'site-b', file, '--replace', ...data], { env })
  assert.is(replaced.code, 0, replaced.err)
})

test('no node’s password and no server token stands in Postgres’ log', () => {
  assert.is(/[0-9a-f]{64}/.test(database.log()), false)
})
