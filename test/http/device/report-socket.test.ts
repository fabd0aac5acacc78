import { once } from 'node:events'
import { type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'
import { eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { type Listener, listenHttp } from '../../../src/server.ts'
import { events } from '../../../src/store/schema.ts'
import { type Desk, openDesk } from '../../fakes/desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('reports that come on a socket')

let desk: Desk
let listener: Listener
let device: string
let token: string

test.before(async () => {
  desk = await openDesk()
  const box = new FakeDevice('AGT-1')
  const profile = await addProfile(desk.world, { role: 'agent', name: 'agents' })
  device = await addDevice(desk.world, box, { profile, cluster: await addCluster(desk.world) })
  const document = await (await desk.enrol(box)).text()
  token = /\/v1\/report\/([A-Za-z0-9_-]+)/.exec(document)?.[1] as string
  listener = await listenHttp('127.0.0.1', 0)
  listener.serve(desk.app)
})
test.after(async () => {
  await listener.drain(0)
  await desk.world.end()
})

type Answer = { status: number; headers: IncomingHttpHeaders; body: string }

/** The short way takes bodies whose length is announced, the long one all others. */
function post(way: 'short' | 'long', path: string, text: string): Promise<Answer> {
  const headers = way === 'short' ? { 'content-length': Buffer.byteLength(text) } : { 'transfer-encoding': 'chunked' }
  const asked = request({ host: '127.0.0.1', port: listener.port, method: 'POST', path: `/v1/report/${path}`, headers })
  return new Promise((done, fail) => {
    asked.once('error', fail)
    asked.once('response', async (response) => {
      let body = ''
      for await (const chunk of response) body += chunk
      done({ status: response.statusCode ?? 0, headers: response.headers, body })
    })
    asked.end(text)
  })
}

/** Without what differs from request to request. */
const likeness = ({ status, headers, body }: Answer) => ({
  status,
  headers: { ...headers, date: '' },
  body: body.replace(/"request_id":"[0-9a-f-]{36}"/, ''),
})

const event = (name: string) =>
  JSON.stringify({
    name,
    description: 'ran',
    event_type: 'finish',
    origin: 'cloudinit',
    timestamp: 1.5,
    result: 'WARN',
  })
const names = async () =>
  (await desk.world.db.select().from(events).where(eq(events.deviceId, device)).orderBy(events.id)).map((e) => e.name)

for (const [status, what, path, body] of [
  [404, 'an unknown token', 'x'.repeat(32), event('a')],
  [404, 'an unknown token and a body that is no report', 'x'.repeat(32), 'nonsense'],
  [404, 'a token of another form', 'short', event('a')],
  [400, 'a body that is no report', undefined, 'nonsense'],
  [400, 'no body', undefined, ''],
  [413, 'a body that is too large', undefined, 'a'.repeat(65_537)],
] as const)
  test(`${status} for ${what}, the same by the short and the long way`, async () => {
    const before = await names()
    const short = likeness(await post('short', path ?? token, body))
    assert.is(short.status, status)
    assert.equal(short, likeness(await post('long', path ?? token, body)))
    assert.equal(await names(), before)
  })

test('204 once it is in the timeline, the same by the short and the long way', async () => {
  const short = likeness(await post('short', token, event('modules-final/config-a')))
  assert.is(short.status, 204)
  assert.match(Object.keys(short.headers).join(), 'rollcall-time')
  assert.equal((await names()).slice(-1), ['modules-final/config-a'])
  assert.equal(short, likeness(await post('long', token, event('modules-final/config-b'))))
  assert.equal((await names()).slice(-2), ['modules-final/config-a', 'modules-final/config-b'])
})

test('a body that comes in pieces is one report, a body that breaks off is none', async () => {
  const text = event('modules-final/config-c')
  const head = `POST /v1/report/${token} HTTP/1.1\r\nHost: a\r\nContent-Length: ${text.length}\r\n\r\n`
  const before = await names()
  const broken = connect(listener.port, '127.0.0.1')
  broken.write(head + text.slice(0, 20))
  await new Promise((done) => setTimeout(done, 50))
  broken.destroy()
  const whole = connect(listener.port, '127.0.0.1')
  whole.write(head + text.slice(0, 20))
  await new Promise((done) => setTimeout(done, 50))
  whole.write(text.slice(20))
  const [answer] = (await once(whole, 'data')) as [Buffer]
  whole.destroy()
  assert.match(answer.toString(), /^HTTP\/1.1 204 /)
  assert.equal(await names(), [...before, 'modules-final/config-c'])
})

test('reports on one connection are answered in their order', async () => {
  const one = (name: string) => {
    const text = event(name)
    return `POST /v1/report/${token} HTTP/1.1\r\nHost: a\r\nContent-Length: ${text.length}\r\n\r\n${text}`
  }
  const socket = connect(listener.port, '127.0.0.1')
  let said = ''
  socket.on('data', (chunk) => (said += chunk))
  socket.write(one('d') + one('e') + one('f'))
  while (said.split('HTTP/1.1 204 ').length < 4) await new Promise((done) => setTimeout(done, 5))
  socket.destroy()
  assert.equal((await names()).slice(-3), ['d', 'e', 'f'])
})
