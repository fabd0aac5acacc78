import { once } from 'node:events'
import { connect } from 'node:net'
import * as assert from 'uvu/assert'
import { createApp, createBootApp } from '../../src/app.ts'
import { operationsOf } from '../../src/operations.ts'
import { type Listener, listenHttp } from '../../src/server.ts'
import { makeWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('Host')
let world: World
let main: Listener
let boot: Listener

test.before(async () => {
  world = await makeWorld()
  const operations = operationsOf(world)
  main = await listenHttp('127.0.0.1', 0)
  main.serve(createApp(world, operations))
  boot = await listenHttp('127.0.0.1', 0)
  boot.serve(createBootApp(world, operations))
})
test.after(async () => {
  await main.drain(0)
  await boot.drain(0)
  await world.end()
})

type Got = { status: number; code: string | undefined; head: string }

async function asked(
  path: string,
  headers: string,
  { version = '1.1', listener = main, method = 'GET' } = {},
): Promise<Got> {
  const socket = connect(listener.port, '127.0.0.1').setEncoding('utf8')
  let said = ''
  socket.on('data', (chunk) => (said += chunk))
  socket.write(`${method} ${path} HTTP/${version}\r\n${headers}Connection: close\r\n\r\n`)
  await once(socket, 'close')
  const [head = '', body = ''] = said.split('\r\n\r\n')
  const code = /"code":"(\w+)"/.exec(body)?.[1]
  return { status: Number(head.split(' ')[1]), code, head }
}

// The first is answered before router and middlewares, the second is not, the others are refusals of their own.
const ways = ['/v1/challenge', '/v1/challenge?', '/healthz', '/nowhere', '/api/v1/devices']

test('is taken or refused alike on every way where it is a name that not every Node can decode', async () => {
  // It may stand in a URL in Node 24; before, no URL can be made of it.
  const taken = URL.canParse('https://xn--a/')
  for (const path of ways.slice(0, 3)) {
    const { status, code } = await asked(path, 'Host: xn--a\r\n')
    assert.equal([path, status, code], taken ? [path, 200, undefined] : [path, 400, 'request_invalid'])
  }
})

for (const [what, headers] of [
  ['empty', 'Host: \r\n'],
  ['two words', 'Host: a b\r\n'],
  ['a path', 'Host: a/b\r\n'],
  ['somebody at a host', 'Host: a@b\r\n'],
  ['a port that is no number', 'Host: a:b\r\n'],
  ['a port that cannot be', 'Host: a:70000\r\n'],
  ['half an address', 'Host: [::1\r\n'],
  ['not ASCII', 'Host: ä\r\n'],
  ['no address though it looks like one', 'Host: 1.2.3.999\r\n'],
  ['endless', `Host: ${'a'.repeat(8_000)}\r\n`],
  ['given twice', 'Host: a\r\nHost: b\r\n'],
  ['given twice, both times the same', 'Host: a\r\nhost: a\r\n'],
] as const)
  test(`400 where it is ${what}, on every way`, async () => {
    for (const path of ways) {
      const { status, code, head } = await asked(path, headers)
      assert.equal([path, status, code], [path, 400, 'request_invalid'])
      assert.match(head, /content-type: application\/problem\+json/i)
      assert.match(head, /rollcall-time: \d+/i)
    }
    assert.is((await asked('/healthz', headers, { listener: boot })).code, 'request_invalid')
  })

for (const target of ['/v1\\challenge', '/\\evil', 'https://[/v1/challenge', '*'])
  test(`400 where the target is ${target}`, async () => {
    const { status, code, head } = await asked(target, 'Host: localhost\r\n', { method: 'OPTIONS' })
    assert.equal([status, code], [400, 'request_invalid'])
    assert.match(head, /rollcall-time: \d+/i)
  })

test('a target with a host of its own is that path, and a backslash may stand in a query', async () => {
  for (const target of ['https://elsewhere.example/v1/challenge', '/v1/challenge?\\'])
    assert.is((await asked(target, 'Host: localhost\r\n')).status, 200)
})

test('whatever it names, the answer is the same on every way', async () => {
  const hosts = [
    'localhost',
    'LOCALHOST:8443',
    'roll.example.',
    '192.0.2.7',
    '[::1]:8443',
    '[0:0::1]',
    '0x7f.1',
    'a_b:443',
    'a:',
  ]
  for (const host of hosts) {
    const statuses = []
    for (const path of ways) statuses.push((await asked(path, `Host: ${host}\r\n`)).status)
    assert.equal([host, ...statuses], [host, 200, 200, 200, 404, 401])
  }
})

test('a load balancer that asks for health by HTTP/1.0 need not name one', async () => {
  for (const listener of [main, boot])
    assert.is((await asked('/healthz', '', { version: '1.0', listener })).status, 200)
  assert.is((await asked('/v1/challenge', '', { version: '1.0' })).status, 200)
  assert.is((await asked('/healthz', '')).status, 400)
})
