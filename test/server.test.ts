import { Agent, get, type IncomingMessage } from 'node:http'
import { get as getTls } from 'node:https'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { Hono } from 'hono'
import pino from 'pino'
import * as assert from 'uvu/assert'
import { serverTime } from '../src/http/device/routes.ts'
import { observed, refusedWhileDraining } from '../src/http/edge.ts'
import { createMetrics } from '../src/http/ops/metrics.ts'
import { onError } from '../src/http/problem.ts'
import { type Listener, listenHttp, listenHttps } from '../src/server.ts'
import { makeCa, makeLeaf, newKey } from '../src/tls/certificates.ts'
import { pinOf } from '../src/tls/pins.ts'
import { suite } from './suite.ts'

const now = 1_795_396_247
const log = pino({ level: 'silent' })
const test = suite('server')

const answered = (port: number, path: string, agent: Agent) =>
  new Promise<{ status: number | undefined; headers: IncomingMessage['headers']; body: string }>((done, fail) => {
    get({ host: '127.0.0.1', port, path, agent }, (answer) => {
      let body = ''
      answer.on('data', (chunk) => (body += chunk))
      answer.on('end', () => done({ status: answer.statusCode, headers: answer.headers, body }))
    }).on('error', fail)
  })

/** A server with a request that takes as long as the test wants, and the edge that `serve` has. */
async function slowServer() {
  const state = { draining: false }
  let finish = () => {}
  const slow = new Promise<void>((done) => {
    finish = done
  })
  const edge = { log, metrics: createMetrics(), draining: () => state.draining, now: () => now }
  const app = new Hono()
  app.onError(onError(log))
  app.use(serverTime(edge.now), observed(edge) as never, refusedWhileDraining(edge))
  app.get('/slow', async (c) => {
    await slow
    return c.text('done')
  })
  app.get('/v1/challenge', (c) => c.text('nonce'))
  app.get('/fast', (c) => c.text('fast'))
  const listener = await listenHttp('127.0.0.1', 0)
  listener.serve(app as never)
  const drain = (deadline: number) => {
    state.draining = true
    return listener.drain(deadline)
  }
  return { port: listener.port, drain, finish }
}

test('says which port is in use, and which setting chooses another', async () => {
  const first = await listenHttp('127.0.0.1', 0)
  const { port } = first
  const credentials = { certificate: await certificate('one.example'), key }
  const refusals = [
    await listenHttps('127.0.0.1', port, credentials).catch((error: Error) => error.message),
    await listenHttp('127.0.0.1', port).catch((error: Error) => error.message),
  ]
  const inUse = `127.0.0.1:${port} is in use by another program: choose another port by`
  assert.equal(refusals, [`${inUse} --https-port (ROLLCALL_HTTPS_PORT)`, `${inUse} --http-port (ROLLCALL_HTTP_PORT)`])
  await first.drain(0)
})

test('says which address this machine does not have', async () => {
  const refusal = await listenHttp('192.0.2.1', 0).catch((error: Error) => error.message)
  assert.is(refusal, 'This machine has no address 192.0.2.1')
})

test('finishes what runs, refuses what comes over kept connections, and takes no new ones', async () => {
  const { port, drain, finish } = await slowServer()
  const [busy, idle, late] = [1, 2, 3].map(() => new Agent({ keepAlive: true, maxSockets: 1 })) as [Agent, Agent, Agent]
  await answered(port, '/fast', idle)
  const running = answered(port, '/slow', busy)
  await sleep(50)
  const drained = drain(10_000)
  const refused = await answered(port, '/v1/challenge', idle)
  assert.is(refused.status, 503)
  assert.is(JSON.parse(refused.body).code, 'shutting_down')
  assert.match(refused.headers['retry-after'] as string, /^\d+$/)
  assert.is(refused.headers.connection, 'close')
  assert.is(refused.headers['rollcall-time'], String(now))
  const turnedAway = await answered(port, '/fast', late).catch((error: NodeJS.ErrnoException) => error.code)
  assert.is(turnedAway, 'ECONNREFUSED')
  finish()
  assert.is((await running).body, 'done')
  await drained
  for (const agent of [busy, idle, late]) agent.destroy()
})

test('cuts what still runs at the deadline', async () => {
  const { port, drain, finish } = await slowServer()
  const agent = new Agent()
  const running = answered(port, '/slow', agent).catch((error: NodeJS.ErrnoException) => error.code)
  await sleep(50)
  await drain(100)
  assert.is(await running, 'ECONNRESET')
  finish()
})

test('ends at once when nobody is connected', async () => {
  const listener = await listenHttp('127.0.0.1', 0)
  await listener.drain(60_000)
})

test('keeps early requests until its routes are there', async () => {
  const listener = await listenHttp('127.0.0.1', 0)
  const agent = new Agent()
  const early = answered(listener.port, '/', agent)
  await sleep(50)
  listener.serve(new Hono().get('/', (c) => c.text('here')) as never)
  assert.is((await early).body, 'here')
  await listener.drain(0)
})

test('refuses headers beyond 32 KiB without asking any route', async () => {
  const listener = await listenHttp('127.0.0.1', 0)
  let asked = false
  listener.serve({
    fetch: () => {
      asked = true
      return new Response('')
    },
  })
  const answer = await new Promise<string>((done) => {
    const socket = connect(listener.port, '127.0.0.1', () => {
      socket.write(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`)
    })
    socket.once('data', (chunk) => done(chunk.toString()))
    socket.on('error', () => {})
  })
  assert.match(answer, /^HTTP\/1\.1 431 /)
  assert.is(asked, false)
  await listener.drain(0)
})

const ca = await makeCa(now)
const key = newKey()
const certificate = async (name: string) => (await makeLeaf(ca, key, [name, '127.0.0.1'], now)) + ca.certificate
const shown = (listener: Listener) =>
  new Promise<{ pin: string; names: string | undefined }>((done, fail) => {
    const socket = connectTls({ port: listener.port, host: '127.0.0.1', ca: ca.certificate }, () => {
      const peer = socket.getPeerX509Certificate()
      done({ pin: peer ? pinOf(peer.toString()) : '', names: peer?.subjectAltName })
      socket.destroy()
    }).on('error', fail)
  })

test('speaks TLS 1.2 and 1.3, nothing older', async () => {
  const listener = await listenHttps('127.0.0.1', 0, { certificate: await certificate('one.example'), key })
  listener.serve(new Hono().get('/', (c) => c.text('ok')) as never)
  const ask = (version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3') =>
    new Promise<string>((done) => {
      const options = {
        host: '127.0.0.1',
        port: listener.port,
        ca: ca.certificate,
        agent: false,
        minVersion: version,
        maxVersion: version,
        ciphers: 'DEFAULT:@SECLEVEL=0',
      } as const
      getTls(options, (answer) => {
        answer.resume()
        done(String(answer.statusCode))
      }).on('error', () => done('refused'))
    })
  assert.is(await ask('TLSv1.1'), 'refused')
  assert.is(await ask('TLSv1.2'), '200')
  assert.is(await ask('TLSv1.3'), '200')
  await listener.drain(0)
})

/** One request, and whether the session of an earlier one was gone on with. */
const visit = (listener: Listener, version: 'TLSv1.2' | 'TLSv1.3', before?: Buffer) =>
  new Promise<{ reused: boolean; ticket: boolean; session: Buffer | undefined }>((done, fail) => {
    const at = { port: listener.port, host: '127.0.0.1', ca: ca.certificate, minVersion: version, maxVersion: version }
    let session: Buffer | undefined
    const socket = connectTls({ ...at, ...(before ? { session: before } : {}) }, () => {
      socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    })
    socket.on('session', (given: Buffer) => (session = given))
    socket.once('data', (answer: Buffer) => {
      assert.match(answer.toString(), /^HTTP\/1\.1 200 /)
      done({ reused: socket.isSessionReused(), ticket: socket.getTLSTicket() !== undefined, session })
      socket.destroy()
    })
    socket.once('error', fail)
  })

for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
  test(`begins each connection anew, whatever session it offers: ${version}, and after a renewal`, async () => {
    const listener = await listenHttps('127.0.0.1', 0, { certificate: await certificate('one.example'), key })
    listener.serve(new Hono().get('/', (c) => c.text('ok')) as never)
    for (const renewed of [false, true]) {
      if (renewed) listener.renew({ certificate: await certificate('one.example'), key })
      const first = await visit(listener, version)
      assert.ok(first.session, 'a client may ask for its session again')
      if (version === 'TLSv1.2') assert.is(first.ticket, false)
      assert.is((await visit(listener, version, first.session)).reused, false)
    }
    await listener.drain(0)
  })

test('shows a renewed certificate to new connections, under the same pin', async () => {
  const listener = await listenHttps('127.0.0.1', 0, { certificate: await certificate('one.example'), key })
  const before = await shown(listener)
  listener.renew({ certificate: await certificate('two.example'), key })
  const after = await shown(listener)
  assert.match(before.names ?? '', /one\.example/)
  assert.match(after.names ?? '', /two\.example/)
  assert.is(after.pin, before.pin)
  await listener.drain(0)
})
