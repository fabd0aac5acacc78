import { get } from 'node:http'
import pino from 'pino'
import * as assert from 'uvu/assert'
import { createApp } from '../../../src/app.ts'
import { type Operations, operationsOf } from '../../../src/operations.ts'
import { type Listener, listenHttp } from '../../../src/server.ts'
import { makeWorld, type World } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('GET /v1/challenge')
let world: World
let listener: Listener
let operations: Operations
const state = { draining: false }
const lines: { msg: string; route: string }[] = []
const log = pino({ level: 'info' }, { write: (line) => void lines.push(JSON.parse(line)) })

test.before(async () => {
  world = { ...(await makeWorld()), log, random: (n) => new Uint8Array(n).fill(5) }
  operations = operationsOf(world, () => state.draining)
  listener = await listenHttp('127.0.0.1', 0)
  listener.serve(createApp(world, operations))
})
test.after(async () => {
  await listener.drain(0)
  await world.end()
})
test.after.each(() => {
  state.draining = false
  log.level = 'info'
})

const asked = (path: string, method = 'GET') =>
  new Promise<{ status: number; head: string[]; body: string }>((done, fail) => {
    const request = { host: '127.0.0.1', port: listener.port, path, method, agent: false as const }
    get(request, (answer) => {
      const head = answer.rawHeaders.flatMap((name, i, all) => (i % 2 ? [] : [`${name.toLowerCase()}: ${all[i + 1]}`]))
      let body = ''
      answer.on('data', (chunk) => (body += chunk))
      const answered = () =>
        done({ status: answer.statusCode ?? 0, head: head.filter((line) => !line.startsWith('date:')).sort(), body })
      answer.on('end', answered)
    }).on('error', fail)
  })

const counted = async () => {
  const text = await operations.metrics.registry.metrics()
  const line = /rollcall_http_request_seconds_count\{method="GET",route="\/v1\/challenge",status="200"\} (\d+)/
  return Number(line.exec(text)?.[1] ?? 0)
}

test('gives a nonce, the time and how long it is good, in headers and body', async () => {
  const { status, head, body } = await asked('/v1/challenge')
  assert.is(status, 200)
  const { nonce, server_time, ttl } = JSON.parse(body)
  assert.match(nonce, /^[A-Za-z0-9_-]{48}$/)
  assert.equal([server_time, ttl], [world.now(), 300])
  assert.equal(head, [
    'cache-control: no-store',
    'connection: close',
    `content-length: ${body.length}`,
    'content-type: application/json',
    `rollcall-nonce: ${nonce}`,
    `rollcall-time: ${server_time}`,
  ])
})

test('gives the same by the short and the long way, and counts both', async () => {
  const before = await counted()
  const short = await asked('/v1/challenge')
  assert.equal(await asked('/v1/challenge?'), short)
  log.level = 'debug'
  assert.equal(await asked('/v1/challenge'), short)
  assert.equal(await asked('/v1/challenge', 'HEAD'), { ...short, body: '' })
  assert.is(await counted(), before + 3)
  assert.is(lines.filter(({ msg, route }) => msg === 'request' && route === '/v1/challenge').length, 2)
})

test('503 once the server is told to end', async () => {
  state.draining = true
  const { status, body } = await asked('/v1/challenge')
  assert.is(status, 503)
  assert.is(JSON.parse(body).code, 'shutting_down')
})
