import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import type { Look } from '../../src/datastore/finding.ts'
import { probePostgres } from '../../src/datastore/probe-postgres.ts'
import { chooseAccount } from '../../src/postgres/account.ts'
import { freePort } from '../../src/postgres/port.ts'
import { makeCa } from '../../src/tls/certificates.ts'
import { suite } from '../suite.ts'
import { majors, type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'

const kine = 'create table kine (id bigserial primary key, name text collate "C", deleted integer)'

for (const major of majors) {
  const test = suite(`a look at PostgreSQL ${major}`, { timeout: 120_000 })
  let server: Throwaway

  test.before(async () => {
    server = await throwawayPostgres(major)
    const admin = server.superuser()
    await admin.unsafe(`create role k3s login password 'n1%pw/@:x'`)
    for (const name of ['free', 'taken', 'sorted']) await admin.unsafe(`create database ${name} owner k3s`)
    await admin.unsafe('create database closed')
    const taken = server.superuser('taken')
    await taken.unsafe(`set role k3s; ${kine}; insert into kine (name, deleted) values ('/bootstrap/0123456789ab', 0)`)
    const sorted = server.superuser('sorted')
    await sorted.unsafe(`set role k3s; ${kine.replace('"C"', '"POSIX"')}`)
  })
  test.after(() => server.stop())

  const at = (
    database: string,
    { login = 'k3s:n1%25pw%2F%40%3Ax', host = 'localhost', port = server.port, query = '' } = {},
  ) => `postgres://${login}@${host}:${port}/${database}${query}`
  async function codes(endpoint: string, more: Partial<Look> = {}): Promise<string[]> {
    const look = { endpoint, cafile: server.ca, servers: 2, bootstrapName: '/bootstrap/aaaaaaaaaaaa', ...more }
    return (await probePostgres(look)).map(({ severity, code }) => `${severity} ${code}`)
  }
  const fine = ['note no_createdb']

  test('finds what keeps K3s from coming up', async () => {
    assert.deepEqual(await codes(at('free', { login: 'k3s:wrong' })), ['error wrong_password'])
    assert.deepEqual(await codes(at('free', { port: await freePort() })), ['error refused'])
    assert.deepEqual(await codes(at('free', { host: 'no-such-host.invalid' })), ['error unresolved'])
    assert.deepEqual(await codes(at('free'), { cafile: (await makeCa(1_795_396_247)).certificate }), [
      'error untrusted',
    ])
    assert.deepEqual(await codes(at('free', { host: '127.0.0.2' })), ['error wrong_name'])
    assert.deepEqual(await codes(at('missing')), ['error no_database'])
    assert.deepEqual(await codes(at('closed')), ['error no_privilege', ...fine])
    assert.deepEqual(await codes(at('taken')), [...fine, 'error other_cluster'])
  })

  test('warns of what will hurt later', async () => {
    assert.deepEqual(await codes(at('free'), { cafile: undefined }), ['warning unverified', ...fine])
    assert.deepEqual(await codes(at('free', { query: '?sslmode=require' })), ['warning unverified', ...fine])
    assert.deepEqual(await codes(at('free'), { servers: 50 }), [...fine, 'warning too_few_connections'])
    assert.deepEqual(await codes(at('sorted')), ['warning collation', ...fine])
  })

  test('finds nothing wrong where nothing is, and its own cluster is no stranger', async () => {
    assert.deepEqual(await codes(at('free')), fine)
    assert.deepEqual(await codes(at('FREE')), fine, 'K3s lower-cases the name')
    assert.deepEqual(await codes(at('taken'), { bootstrapName: '/bootstrap/0123456789ab' }), fine)
  })

  test('a server without TLS, and one that lets nobody in without', async () => {
    await server.hba(
      'hostnossl all k3s all scram-sha-256\nhostssl all postgres all scram-sha-256\nlocal all all scram-sha-256\n',
    )
    assert.deepEqual(await codes(at('free')), ['error not_let_in'])
    await server.hba('hostssl all all all scram-sha-256\nlocal all all scram-sha-256\n')
    const plain = await codes(at('free', { query: '?sslmode=disable' }), { cafile: undefined })
    assert.deepEqual(plain, ['warning unverified', 'error tls_wanted'])
  })

  test('pgbouncer is found out', async () => {
    if (!existsSync('/usr/sbin/pgbouncer'))
      return console.log('skipped: pgbouncer is not installed (Debian: pgbouncer)')
    const bouncer = await startBouncer(server.port)
    try {
      const endpoint = at('free', { port: bouncer.port, query: '?sslmode=disable' })
      const found = await codes(endpoint, { cafile: undefined })
      assert.deepEqual(found, ['warning unverified', 'error pgbouncer', ...fine])
    } finally {
      await bouncer.stop()
    }
  })

  test('reads, and leaves nothing behind', async () => {
    const [row] = await server.superuser(
      'free',
    )`select count(*)::int as n from pg_class where relnamespace = 'public'::regnamespace`
    assert.equal(row?.n, 0)
  })
}

async function startBouncer(upstream: number): Promise<{ port: number; stop: () => Promise<void> }> {
  const root = mkdtempSync(join(tmpdir(), 'rollcall-bouncer-'))
  chmodSync(root, 0o755)
  const port = await freePort()
  const text = `[databases]
* = host=127.0.0.1 port=${upstream}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = plain
auth_file = ${root}/users
server_tls_sslmode = require
`
  writeFileSync(join(root, 'users'), '"k3s" "n1%pw/@:x"\n')
  writeFileSync(join(root, 'ini'), text)
  const account = chooseAccount(undefined, root)
  if (account) for (const name of ['users', 'ini']) chownSync(join(root, name), account.uid, account.gid)
  const child = spawn('/usr/sbin/pgbouncer', ['-q', join(root, 'ini')], {
    stdio: 'ignore',
    ...(account ? { uid: account.uid, gid: account.gid } : {}),
  })
  const sql = postgres({
    host: '127.0.0.1',
    port,
    user: 'k3s',
    password: 'n1%pw/@:x',
    database: 'free',
    max: 1,
    fetch_types: false,
  })
  for (let round = 0; round < 100; round++) {
    const up = await sql`select 1`.simple().then(
      () => true,
      () => false,
    )
    if (up) break
    await sleep(50)
  }
  await sql.end({ timeout: 1 })
  return {
    port,
    stop: async () => {
      const ended = new Promise((done) => child.once('exit', done))
      child.kill('SIGTERM')
      await ended
      rmSync(root, { recursive: true })
    },
  }
}
