import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { type Listener, listenHttp } from '../../../src/server.ts'
import { queueTask, wakeCluster } from '../../../src/services/queue-task.ts'
import { ClusterNode } from '../../fakes/cluster-node.ts'
import { type Desk, openDesk } from '../../fakes/desk.ts'
import { addCluster, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('task polls that are held on a socket')

let desk: Desk
let listener: Listener
let cluster: string
let node: ClusterNode
const agent = new Agent({ keepAlive: true, maxSockets: 1 })

test.before(async () => {
  desk = await openDesk()
  const profile = await addProfile(desk.world)
  cluster = await addCluster(desk.world)
  node = await ClusterNode.add(desk.world, desk.app, { profile, cluster })
  listener = await listenHttp('127.0.0.1', 0)
  listener.serve(desk.app)
})
test.after(async () => {
  agent.destroy()
  await listener.drain(0)
  await desk.world.end()
})

type Answer = { status: number; headers: IncomingMessage['headers']; body: string; port: number }

function poll(wait: number | string, credential = node.credential) {
  const headers = { authorization: `Bearer ${credential}` }
  const asked = request({ host: '127.0.0.1', port: listener.port, path: `/v1/tasks?wait=${wait}`, headers, agent })
  const answer = new Promise<Answer>((done, fail) => {
    asked.once('error', fail)
    asked.once('response', (response) => {
      const port = response.socket.localPort as number
      let body = ''
      response.on('data', (chunk) => (body += chunk))
      response.on('end', () => done({ status: response.statusCode ?? 0, headers: response.headers, body, port }))
    })
    asked.end()
  })
  return { answer, leave: () => asked.destroy() }
}

const held = async (n: number) => {
  for (let i = 0; i < 400 && desk.polls.held() !== n; i++) await sleep(5)
  assert.is(desk.polls.held(), n)
}
const queue = async (subject: string) => {
  await desk.world.db.transaction((tx) =>
    queueTask(desk.world, tx, { clusterId: cluster, verb: 'node-delete', subject }),
  )
  wakeCluster(desk.world, cluster)
}

/** Without what differs from request to request. */
const likeness = ({ status, headers, body }: Answer) => ({
  status,
  headers: { ...headers, date: '' },
  body: body.replace(/"request_id":"[0-9a-f-]{36}"/, ''),
})

for (const [what, bad] of [
  ['is unknown', 'x'.repeat(43)],
  ['has another form', 'x'],
] as const)
  test(`401 for a credential that ${what}, the same by the short and the long way`, async () => {
    const short = await poll(1, bad).answer
    assert.equal([short.status, JSON.parse(short.body).code], [401, 'credential_invalid'])
    assert.match(short.headers['content-type'] ?? '', 'application/problem+json')
    assert.is(short.headers['rollcall-time'], String(desk.world.now()))
    assert.equal(likeness(short), likeness(await poll('1&', bad).answer))
  })

for (const [what, headers] of [
  ['with content', 'Content-Length: 5\r\n'],
  ['with content in chunks', 'Transfer-Encoding: chunked\r\n'],
] as const)
  test(`400 for a poll ${what}, and its connection ends: nobody would read it, nor see behind it that the client goes`, async () => {
    for (const wait of ['50', '50&']) {
      const text = asText(wait, headers)
      assert.match(await ended(text), /^HTTP\/1\.1 400 .*"code":"request_invalid"/s)
      assert.is(desk.polls.held(), 0)
      assert.match(await ended(text.replace(node.credential, 'x')), /^HTTP\/1\.1 401 /)
    }
  })

test('an empty body is none', async () => {
  await raw(asText('50', 'Content-Length: 0\r\n'), () => held(1))
  await held(0)
})

test('are answered the same by the short and the long way', async () => {
  assert.equal(likeness(await poll(0).answer), likeness(await poll('0&').answer))
  assert.equal(likeness(await poll(1).answer), likeness(await poll('1&').answer))
})

test('are freed when the client goes away, by the long way too', async () => {
  const { answer, leave } = poll('50&')
  await held(1)
  leave()
  assert.is(await answer.catch((error) => error.code), 'ECONNRESET')
  await held(0)
})

test('are freed when the client goes away', async () => {
  const { answer, leave } = poll(50)
  await held(1)
  leave()
  assert.is(await answer.catch((error) => error.code), 'ECONNRESET')
  await held(0)
})

/** What is written to a socket as it is, and what comes back until the other side or `until` ends it. */
async function raw(text: string, until: () => Promise<unknown>): Promise<string> {
  const socket = connect(listener.port, '127.0.0.1').setEncoding('utf8')
  let said = ''
  socket.on('data', (chunk) => (said += chunk))
  socket.write(text)
  await until()
  socket.destroy()
  await once(socket, 'close')
  return said
}

/** What comes back until the server ends the connection. */
async function ended(text: string): Promise<string> {
  const socket = connect(listener.port, '127.0.0.1').setEncoding('utf8')
  let said = ''
  socket.on('data', (chunk) => (said += chunk))
  socket.write(text)
  await once(socket, 'close')
  return said
}

const asText = (wait: string, further = '') =>
  `GET /v1/tasks?wait=${wait} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${node.credential}\r\n${further}\r\n`

test('are freed when the client goes away, those too that wait behind another on its connection', async () => {
  await raw(asText('50').repeat(3), () => held(3))
  await held(0)
})

test('401 for two credentials, the same by the short and the long way', async () => {
  const two = (wait: string) => raw(asText(wait, 'authorization: Bearer x\r\n'), () => sleep(200))
  for (const wait of ['0', '0&']) assert.match(await two(wait), /^HTTP\/1\.1 401 /)
})

test('are answered with the time of the answer, and leave the connection to the next', async () => {
  const { answer } = poll(50)
  await held(1)
  desk.world.clock.now += 7
  await queue('n1')
  const { status, headers, body, port } = await answer
  assert.is(status, 200)
  assert.match(body, /^tsk_\w+ node-delete n1\n$/)
  assert.is(headers['rollcall-time'], String(desk.world.now()))
  assert.match(headers['content-type'] ?? '', 'text/plain')
  assert.is(headers['content-length'], String(body.length))
  const next = await poll(1).answer
  assert.equal([next.status, next.body, next.port], [204, '', port])
})

test('are answered with all that comes within a moment', async () => {
  const { answer } = poll(50)
  await held(1)
  for (const name of ['n2', 'n3', 'n4']) {
    await queue(name)
    await sleep(20)
  }
  const { body } = await answer
  assert.equal(
    body
      .trim()
      .split('\n')
      .map((line) => line.replace(/^tsk_\w+ /, ''))
      .sort(),
    ['node-delete n2', 'node-delete n3', 'node-delete n4'],
  )
})

test('are counted when they are answered, as what they were answered with', async () => {
  const metrics = async () =>
    /rollcall_http_request_seconds_count\{method="GET",route="\/v1\/tasks",status="204"\} (\d+)/.exec(
      await desk.operations.metrics.registry.metrics(),
    )?.[1] ?? '0'
  const before = Number(await metrics())
  const { answer } = poll(1)
  await held(1)
  assert.match(await desk.operations.metrics.registry.metrics(), /^rollcall_task_polls_held 1$/m)
  assert.is(Number(await metrics()), before)
  assert.is((await answer).status, 204)
  assert.is(Number(await metrics()), before + 1)
})

test('end at once when the server does', async () => {
  const { answer } = poll(50)
  await held(1)
  desk.polls.close()
  const from = Date.now()
  assert.is((await answer).status, 204)
  agent.destroy()
  await listener.drain(10_000)
  assert.ok(Date.now() - from < 5_000)
})
