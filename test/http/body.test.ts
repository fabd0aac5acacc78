import { connect, type Socket } from 'node:net'
import { mock } from 'node:test'
import pino from 'pino'
import * as assert from 'uvu/assert'
import { createApp } from '../../src/app.ts'
import { type Listener, listenHttp } from '../../src/server.ts'
import { createToken } from '../../src/services/create-token.ts'
import { makeWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('bodies that do not end')
let world: World
let listener: Listener
let requests: Record<string, string>
const lines: string[] = []
test.before(async () => {
  world = await makeWorld()
  const { body } = await createToken(world, { name: 'test' }, { name: 'admin', scope: 'admin' })
  const log = pino({}, { write: (line: string) => lines.push(line) })
  listener = await listenHttp('127.0.0.1', 0)
  listener.serve(createApp({ ...world, log }) as never)
  const admin = `Authorization: Bearer ${body.token}\r\nContent-Type: application/json\r\n`
  requests = {
    'POST /v1/claim': 'Content-Type: application/jose\r\n',
    'POST /v1/report/0123456789abcdef': '',
    'POST /api/v1/clusters': admin,
    'POST /api/v1/profiles': `${admin}Idempotency-Key: cut\r\n`,
  }
})
test.after(async () => {
  await listener.drain(0)
  await world.end()
})

const framings = {
  'with a length': ['Content-Length: 400', '{"x'],
  chunked: ['Transfer-Encoding: chunked', '3\r\n{"x\r\n'],
}

function begin(request: string, headers: string, [framing, start]: string[]): Socket {
  const socket = connect(listener.port, '127.0.0.1').on('error', () => {})
  socket.write(`${request} HTTP/1.1\r\nHost: x\r\n${headers}${framing}\r\n\r\n${start}`)
  return socket
}

const said = () => lines.map((line) => JSON.parse(line) as { level: number; status: number })
const turn = () => new Promise((done) => setImmediate(done))

test('broken off: 400, and no warning to whoever reads the log', async () => {
  for (const [request, headers] of Object.entries(requests)) {
    for (const [name, framing] of Object.entries(framings)) {
      lines.length = 0
      const socket = begin(request, headers, framing)
      // Its handler waits for the rest.
      await new Promise((done) => setTimeout(done, 100))
      socket.destroy()
      while (lines.length === 0) await turn()
      const all = said().map(({ level, status }) => ({ level, status }))
      assert.equal(all, [{ level: 30, status: 400 }], `${request} ${name}`)
    }
  }
})

test('too slow: 400 after 20 s, and the connection ends', async () => {
  for (const [request, headers] of Object.entries(requests)) {
    for (const [name, framing] of Object.entries(framings)) {
      mock.timers.enable({ apis: ['setTimeout'] })
      const ticking = setInterval(() => mock.timers.tick(1_000), 10)
      const answer = await whole(begin(request, headers, framing)).finally(() => {
        clearInterval(ticking)
        mock.timers.reset()
      })
      assert.match(answer, /^HTTP\/1\.1 400 /, `${request} ${name}`)
      assert.match(answer, /\r\nconnection: close\r\n/i)
      assert.match(answer, /"detail":"the body took too long".*"code":"request_invalid"/)
    }
  }
})

test('of a GET: answered at once, and the connection ends', async () => {
  for (const framing of Object.values(framings)) {
    assert.match(await whole(begin('GET /v1/challenge', '', framing)), /^HTTP\/1\.1 200 /)
  }
})

/** All that comes until the other side ends the connection. */
async function whole(socket: Socket): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += chunk
  return text
}
