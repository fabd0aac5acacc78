import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSecureContext, TLSSocket } from 'node:tls'
import * as assert from 'uvu/assert'
import { budgetProblems } from '../../src/datastore/check-address.ts'
import { probeRole, sharedLoginPassword } from '../../src/k3s/datastore-names.ts'
import { makeCa, makeSelfSigned } from '../../src/tls/certificates.ts'
import { suite } from '../suite.ts'
import { type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'
import { key, managedOn } from './node.ts'

const test = suite('the check of the clusters’ PostgreSQL', { timeout: 60_000 })
let server: Throwaway
const servers: Server[] = []

test.before(async () => {
  server = await throwawayPostgres(18, { max_connections: '100' })
  await reasons({})
})
test.after(async () => {
  for (const one of servers) one.close()
  await server?.stop()
})

/** What is said to somebody who declares a cluster. */
async function reasons(change: { address?: string; ca?: string }, serverNodes = 1): Promise<string[]> {
  const managed = managedOn(server, change)
  try {
    await managed.check(serverNodes)
    return []
  } catch (error) {
    const { code, errors = [] } = error as { code?: string; errors?: { path: string; reason: string }[] }
    assert.is(code, 'invalid')
    for (const { path } of errors) assert.is(path, 'datastore.kind')
    return errors.map(({ reason }) => reason)
  } finally {
    await managed.close()
  }
}

/** Something else that listens. */
async function listener(answer: (socket: Socket) => void): Promise<number> {
  const one = createServer((socket) => answer(socket.on('error', () => {})))
  servers.push(one)
  await new Promise<void>((done) => one.listen(0, '127.0.0.1', done))
  return (one.address() as { port: number }).port
}

/** What it says to PostgreSQL's request for TLS. */
const impostor = (answer: string) =>
  listener((socket) => void socket.once('data', () => (answer === '' ? socket.end() : socket.write(answer))))

const pgbouncer = '/usr/sbin/pgbouncer'

async function listening(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    const up = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (up) return
    await new Promise((done) => setTimeout(done, 20))
  }
}

test('says in plain words what is wrong with the way', async () => {
  const { port } = server
  const cases: Record<string, [{ address?: string; ca?: string }, string]> = {
    unresolved: [
      { address: 'no-such-host.invalid' },
      'no-such-host.invalid:5432: its name does not resolve from this server',
    ],
    refused: [{ address: 'localhost:1' }, 'localhost:1: nothing listens there'],
    'no TLS': [
      { address: `localhost:${await impostor('N')}` },
      ': it does not speak TLS: set ssl = on there, with a certificate for this name',
    ],
    'no PostgreSQL': [{ address: `localhost:${await impostor('')}` }, ': what answers there is no PostgreSQL'],
    'no PostgreSQL either': [
      { address: `localhost:${await impostor('HTTP/1.1 400')}` },
      ': what answers there is no PostgreSQL',
    ],
    'another name': [
      { address: `127.0.0.2:${port}` },
      `127.0.0.2:${port}: its certificate is not for this name: K3s will refuse it`,
    ],
    'another authority': [
      { ca: (await makeCa(1_795_396_247)).certificate },
      `localhost:${port}: its certificate is not from the authority in ROLLCALL_DATASTORE_CA`,
    ],
  }
  for (const [what, [change, said]] of Object.entries(cases)) {
    const [reason = '', ...more] = await reasons(change)
    assert.is(reason.endsWith(said), true, `${what}: ${reason}`)
    assert.equal(more, [], what)
  }
})

test('refuses a certificate that has its name as common name alone', async () => {
  const subject = ['-nodes', '-subj', '/CN=localhost', '-keyout', '-', '-out', '-']
  const { stdout: pem } = spawnSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', ...subject],
    { encoding: 'utf8' },
  )
  const certificate = /-----BEGIN CERTIFICATE-----[\s\S]*-----END CERTIFICATE-----/.exec(pem)?.[0] as string
  const context = createSecureContext({ key: pem, cert: certificate })
  const port = await listener((socket) => {
    socket.once('data', () => {
      socket.write('S')
      new TLSSocket(socket, { isServer: true, secureContext: context }).on('error', () => {})
    })
  })
  const [reason] = await reasons({ address: `localhost:${port}`, ca: certificate })
  assert.match(reason as string, /common name alone, which K3s does not look at/)
})

test('refuses a pg_hba.conf that lets no node in', async () => {
  await server.hba('local all all scram-sha-256\nhostssl all rollcall,rollcall_observer,postgres all scram-sha-256\n')
  assert.equal(await reasons({}), [
    `localhost:${server.port}: its pg_hba.conf lets no node in from here: hostssl rollcall_k3s +k3s_nodes <networks of the nodes, and this server> scram-sha-256`,
  ])
  await server.hba('local all all scram-sha-256\nhostssl all all all scram-sha-256\n')
})

test('refuses another PostgreSQL of that name', async () => {
  const other = await throwawayPostgres(18)
  const said = await reasons({ address: `localhost:${other.port}`, ca: other.ca })
  assert.equal(said, [
    `localhost:${other.port}: it does not know Rollcall’s login: another PostgreSQL answers there, or a pooler`,
  ])
  await other.stop()
})

test('refuses a read-only standby, unless a primary stands beside it', async () => {
  const standby = await throwawayPostgres(18)
  const made = managedOn(standby)
  await made.ready()
  await made.close()
  await standby.becomeStandby()
  const at = `localhost:${standby.port}`
  const ca = server.ca + standby.ca
  assert.equal(await reasons({ address: at, ca }), [
    `${at}: a read-only standby answers, which takes no writes: name the primary`,
  ])
  assert.equal(await reasons({ address: `${at},localhost:${server.port}`, ca }), [])
  assert.match((await reasons({ address: `${at},localhost:${server.port}` }))[0] as string, /not from the authority/)
  await standby.stop()
  assert.equal(await reasons({ address: `${at},localhost:${server.port}`, ca }), [])
  assert.equal(await reasons({ address: at, ca }), [`${at}: nothing listens there`])
})

test('refuses a pooler, which hands out process ids of its own', async () => {
  if (!existsSync(pgbouncer)) return console.log('skipped: refuses a pooler: pgbouncer is not installed here')
  const directory = mkdtempSync(join(tmpdir(), 'rollcall-bouncer-'))
  const port = 20_000 + Math.floor(Math.random() * 12_000)
  const pair = await makeSelfSigned(['localhost'], Math.floor(Date.now() / 1000))
  const put = (name: string, text: string) => {
    writeFileSync(join(directory, name), text, { mode: 0o644 })
    return join(directory, name)
  }
  const [cert, keyFile] = [put('crt', pair.certificate), put('key', pair.key)]
  const users = put('users', `"${probeRole}" "${sharedLoginPassword(key, probeRole)}"\n`)
  const ini = put(
    'ini',
    `[databases]
rollcall_k3s = host=127.0.0.1 port=${server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
client_tls_sslmode = require
client_tls_cert_file = ${cert}
client_tls_key_file = ${keyFile}
server_tls_sslmode = require
`,
  )
  chmodSync(directory, 0o755)
  const child = spawn(pgbouncer, ['-q', ini], { stdio: 'ignore', uid: 65_534, gid: 65_534, cwd: '/' })
  try {
    await listening(port)
    assert.equal(await reasons({ address: `localhost:${port}`, ca: pair.certificate }), [
      `localhost:${port}: a pooler (pgbouncer?) stands before it, which K3s does not get on with (K3s issue 14525): name PostgreSQL itself`,
    ])
    writeFileSync(users, '')
    child.kill('SIGHUP')
    await new Promise((done) => setTimeout(done, 500))
    assert.match((await reasons({ address: `localhost:${port}`, ca: pair.certificate }))[0] as string, /pooler/)
  } finally {
    child.kill()
    rmSync(directory, { recursive: true })
  }
})

test('counts the connections of all server nodes', async () => {
  assert.equal(await reasons({}, 1), [])
  assert.equal(await reasons({}, 2), [
    'PostgreSQL takes 97 connections, and 2 server nodes of managed clusters (40 each), Rollcall (22) and a reserve (10) may want 112: raise max_connections',
  ])
  assert.equal(budgetProblems(110, 20, 2), [])
})
