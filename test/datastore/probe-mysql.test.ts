import assert from 'node:assert/strict'
import { createConnection } from 'mysql2/promise'
import type { Look } from '../../src/datastore/finding.ts'
import { probeMysql } from '../../src/datastore/probe-mysql.ts'
import { freePort } from '../../src/postgres/port.ts'
import { makeCa } from '../../src/tls/certificates.ts'
import { suite } from '../suite.ts'
import { hasMariadb, type Mariadb, throwawayMariadb } from '../throwaway-mariadb.ts'

const test = suite('a look at MySQL', { timeout: 120_000 })
let server: Mariadb | undefined
// Everything that the driver takes as it is and another parser would trip over.
const password = 'n1%pw/@:x?&'

test.before(async () => {
  if (!hasMariadb) return
  server = await throwawayMariadb()
  for (const name of ['free', 'taken', 'closed']) await server.run(`create database ${name}`)
  await server.run(`create user k3s@'%' identified by '${password}' require ssl`)
  await server.run(`create user plain@'%' identified by 'p'`)
  await server.run(`grant all on free.* to k3s@'%'`)
  await server.run(`grant all on taken.* to k3s@'%'`)
  await server.run(`grant all on fresh.* to k3s@'%'`)
  await server.run(`grant all on free.* to plain@'%'`)
  await server.run('create table taken.kine (name varchar(630), deleted integer)')
  await server.run("insert into taken.kine values ('/bootstrap/0123456789ab', 0), ('/registry/x', 0)")
})
test.after(() => server?.stop())

async function codes(endpoint: string, more: Partial<Look> = {}): Promise<string[]> {
  const look = { endpoint, cafile: server?.ca, servers: 2, bootstrapName: '/bootstrap/aaaaaaaaaaaa', ...more }
  return (await probeMysql(look)).map(({ severity, code }) => `${severity} ${code}`)
}
const at = (database: string, login = `k3s:${password}`, host = '127.0.0.1') =>
  `mysql://${login}@tcp(${host}:${server?.port})/${database}`

test('finds what keeps K3s from coming up', async () => {
  if (!server) return
  assert.deepEqual(await codes(at('free', 'k3s:wrong')), ['error wrong_password'])
  assert.deepEqual(await codes(at('free'), { cafile: (await makeCa(1_795_396_247)).certificate }), ['error untrusted'])
  assert.deepEqual(await codes(at('free', undefined, '127.0.0.2')), ['error refused'])
  assert.deepEqual(await codes(`mysql://u:p@tcp(127.0.0.1:${await freePort()})/free`), ['error refused'])
  assert.deepEqual(await codes('mysql://u:p@tcp(no-such-host.invalid:3306)/free'), ['error unresolved'])
  assert.deepEqual(await codes(at('closed')), ['error no_privilege'])
  assert.deepEqual(await codes(at('taken')), ['error other_cluster'])
})

test('warns of a connection in the clear and of too few connections', async () => {
  if (!server) return
  assert.deepEqual(await codes(at('free', 'plain:p'), { cafile: undefined }), ['warning unverified'])
  assert.deepEqual(await codes(at('free'), { servers: 50 }), ['warning too_few_connections'])
})

test('finds nothing wrong where nothing is, and its own cluster is no stranger', async () => {
  if (!server) return
  assert.deepEqual(await codes(at('free')), [])
  assert.deepEqual(await codes(at('taken'), { bootstrapName: '/bootstrap/0123456789ab' }), [])
  assert.deepEqual(await codes(at('fresh')), ['note no_database'])
})

test('reads, and leaves nothing behind', async () => {
  if (!server) return
  const connection = await createConnection({
    host: '127.0.0.1',
    port: server.port,
    user: 'plain',
    password: 'p',
    database: 'free',
  })
  const [tables] = await connection.query('show tables')
  await connection.end()
  assert.deepEqual(tables, [])
})
