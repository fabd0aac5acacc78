import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import postgres, { type Sql } from 'postgres'
import * as assert from 'uvu/assert'
import { connect } from '../../src/datastore/connect.ts'
import { makeLogin } from '../../src/datastore/logins.ts'
import { declareSchema } from '../../src/datastore/schemas.ts'
import { newId } from '../../src/ids.ts'
import { loginRole } from '../../src/k3s/datastore-names.ts'
import { rollcall, type Serving, serving, start } from '../rollcall.ts'
import { suite } from '../suite.ts'

const directory = mkdtempSync(join(tmpdir(), 'rollcall-open-'))
chmodSync(directory, 0o711)
const port = 20_000 + Math.floor(Math.random() * 12_000)
const env = {
  ROLLCALL_DATASTORE_ADDRESS: `localhost:${port}`,
  ROLLCALL_DATASTORE_NETWORKS: '127.0.5.0/24',
  ROLLCALL_PUBLIC_URL: 'https://rollcall.test',
}
const [cluster, enrollment] = [newId('clu', 1, randomBytes(12)), newId('enr', 1, randomBytes(12))]
const password = (name: string) => readFileSync(join(directory, 'postgres', `${name}.password`), 'utf8').trim()

const test = suite('the embedded PostgreSQL, open to nodes', { timeout: 120_000 })
let server: Serving
let ca: string

test.before(async () => {
  server = await serving(['--data-dir', directory], { env })
  ca = await authorityOf(server.https)
})
test.after(async () => {
  await server?.stop()
  const unit = start(['postgres', '--data-dir', directory])
  await until(() => /process \d+/.test(unit.err()))
  unit.child.kill('SIGTERM')
  await unit.ended
  rmSync(directory, { recursive: true, force: true })
})

type As = { user: string; password: string; database?: string; from?: string; plain?: boolean }

/** A session from another address than the loopback's own, which stands for the network. */
function session({ user, password, database = 'rollcall_k3s', from = '127.0.5.1', plain = false }: As): Sql {
  const socket = () => {
    const tcp = connectTcp({ port, host: '127.0.0.1', localAddress: from })
    return new Promise((done, fail) => tcp.once('connect', () => done(tcp)).once('error', fail))
  }
  // verify-full: our CA alone, and the name that documents say.
  const ssl = plain ? false : { ca, servername: 'localhost' }
  const options = { socket, user, password, database, ssl, max: 1, fetch_types: false, onnotice: () => {} }
  return postgres(options as never)
}

async function refusal(as: As): Promise<string> {
  const sql = session(as)
  try {
    await sql`select 1`
    return 'let in'
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

async function until(is: () => boolean): Promise<void> {
  while (!is()) await new Promise((done) => setTimeout(done, 20))
}

/** Rollcall's own CA, as the main listener shows it. */
async function authorityOf(url: string): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connectTls({ host: hostname, port: Number(port), rejectUnauthorized: false })
  await new Promise((done) => socket.once('secureConnect', done))
  const authority = socket.getPeerX509Certificate()?.issuerCertificate
  socket.destroy()
  assert.ok(authority)
  return authority.toString()
}

const node = { user: loginRole(enrollment), password: 'the node’s own'.replaceAll(/[^a-z]/g, '') }

test('a node comes in, over TLS that our CA vouches for, to its own cluster', async () => {
  const own = {
    url: '',
    connection: {
      host: '127.0.0.1',
      port,
      user: 'rollcall',
      password: password('rollcall'),
      ssl: { ca, servername: 'localhost' } as never,
    },
  }
  const sql = connect(own, { database: 'rollcall_k3s', max: 1 })
  await declareSchema(sql, cluster)
  await makeLogin(sql, cluster, enrollment, node.password)
  await sql.end()
  assert.is(await refusal(node), 'let in')
})

test('a node may take no advisory lock there, and the lock table has room', async () => {
  const sql = session(node)
  try {
    assert.is(await sql`select pg_advisory_lock(1)`.catch(({ code }) => code), '42501')
    const [row] = await sql<{ room: string }[]>`select current_setting('max_locks_per_transaction') as room`
    assert.is(row?.room, '256')
  } finally {
    await sql.end({ timeout: 1 })
  }
  assert.match(server.err(), /names localhost, which is the node itself/)
  assert.not.match(server.err(), /advisory/)
})

test('nobody else comes in from the network, and nodes come nowhere else', async () => {
  for (const user of ['rollcall', 'postgres']) {
    const name = user === 'postgres' ? 'superuser' : user
    for (const database of ['rollcall_k3s', 'rollcall', 'postgres']) {
      assert.is(await refusal({ user, password: password(name), database }), '28000', `${user} to ${database}`)
    }
  }
  assert.is(await refusal({ user: 'rollcall_observer', password: 'any' }), '28000')
  for (const database of ['rollcall', 'postgres', 'template1']) {
    assert.is(await refusal({ ...node, database }), '28000', `a node to ${database}`)
  }
  assert.is(await refusal({ ...node, from: '127.0.6.1' }), '28000', 'from another network')
  assert.is(await refusal({ ...node, plain: true }), '28000', 'without TLS')
  assert.is(await refusal({ ...node, password: 'wrong' }), '28P01')
})

test('it stays up with its sessions when serve ends, is adopted by the next, and ends with its unit', async () => {
  const sql = session(node)
  const [before] = await sql`select pg_backend_pid() as pid`
  const ended = await server.stop()
  assert.is(ended.code, 0)
  assert.match(ended.err, /run `rollcall postgres` as a unit of its own/)
  assert.is((await rollcall(['pin', '--data-dir', directory])).code, 0)
  assert.equal((await sql`select pg_backend_pid() as pid`)[0], before)

  server = await serving(['--data-dir', directory], { env })
  assert.equal((await sql`select pg_backend_pid() as pid`)[0], before)
  await server.stop()
  const unit = start(['postgres', '--data-dir', directory], { env })
  await until(() => /looked after now/.test(unit.err()))
  unit.child.kill('SIGTERM')
  assert.is((await unit.ended).code, 0)
  assert.is(existsSync(join(directory, 'postgres', 'data', 'postmaster.pid')), false)
  await sql.end({ timeout: 1 })
})

test('its certificate is kept as long as it is good, and follows the name', async () => {
  const file = join(directory, 'postgres', 'data', 'rollcall.crt')
  const before = readFileSync(file, 'utf8')
  server = await serving(['--data-dir', directory], { env })
  assert.is(readFileSync(file, 'utf8'), before)
  await server.stop()
  const renamed = { ...env, ROLLCALL_DATASTORE_ADDRESS: `db.example.net:${port}` }
  server = await serving(['--data-dir', directory], { env: renamed })
  assert.is.not(readFileSync(file, 'utf8'), before)
})

test('one that was started closed says so to who wants it open', async () => {
  await server.stop()
  const stop = start(['postgres', '--data-dir', directory])
  await until(() => /looked after now/.test(stop.err()))
  stop.child.kill('SIGTERM')
  await stop.ended
  const closed = start(['postgres', '--data-dir', directory])
  await until(() => /PostgreSQL runs/.test(closed.err()))
  server = await serving(['--data-dir', directory], { env })
  assert.match(server.err(), /was started with other settings and is not open to nodes/)
  closed.child.kill('SIGTERM')
  await closed.ended
})
