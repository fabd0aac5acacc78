import * as fc from 'fast-check'
import { Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import pino from 'pino'
import * as assert from 'uvu/assert'
import { AppError, type Code, codes } from '../../src/errors.ts'
import { notFound, onError } from '../../src/http/problem.ts'
import { requestId } from '../../src/http/request-id.ts'
import { suite } from '../suite.ts'

type Problem = Record<string, unknown>
const lines: string[] = []
const log = pino({}, { write: (line: string) => lines.push(line) })

/** An app whose one route throws. */
function throwing(thrown: unknown) {
  const app = new Hono()
  app.use(requestId())
  app.onError(onError(log))
  app.notFound(notFound(app))
  app.get('/x', () => {
    throw thrown
  })
  app.get('/v1/report/:token', () => {
    throw thrown
  })
  app.put('/x', (c) => c.text('ok'))
  return app
}
const json = async (answer: Response | Promise<Response>) => (await (await answer).json()) as Problem
const postgresError = (code: string, message = 'broken') =>
  new Error('Failed query: insert … params: s3cret', { cause: Object.assign(new Error(message), { code, query: '…' }) })

const test = suite('problem')

test('writes each code with its status and title, which is its detail where there is no other', async () => {
  for (const [code, [status, title]] of Object.entries(codes)) {
    const answer = await throwing(new AppError(code as Code)).request('/x')
    assert.is(answer.status, status)
    assert.is(answer.headers.get('content-type'), 'application/problem+json')
    const { request_id, ...rest } = await json(answer)
    assert.match(String(request_id), /^[0-9a-f-]{36}$/)
    const detail = code === 'internal' ? {} : { detail: title }
    assert.equal(rest, { type: `urn:rollcall:problem:${code}`, title, status, ...detail, instance: '/x', code })
  }
})

test('shows detail and field errors', async () => {
  const errors = [{ path: 'name', reason: 'too long' }]
  const body = await json(throwing(new AppError('invalid', { detail: 'no', errors })).request('/x'))
  assert.is(body.detail, 'no')
  assert.equal(body.errors, errors)
})

test('is one line for whoever accepts text', async () => {
  const ask = async (error: AppError, accept: string) => {
    const answer = await throwing(error).request('/x', { headers: { accept } })
    return [answer.headers.get('content-type'), await answer.text()]
  }
  const text = 'text/plain; charset=utf-8'
  const errors = [{ path: 'serial', reason: 'is a placeholder' }]
  assert.equal(await ask(new AppError('invalid', { errors }), 'text/plain'), [
    text,
    'invalid: serial: is a placeholder',
  ])
  const long = new AppError('busy', { detail: 'two\nlines' })
  assert.equal(await ask(long, 'text/html;q=0.1, text/plain'), [text, 'busy: two lines'])
  for (const accept of ['*/*', 'application/json, text/plain;q=0.5', 'text/plain;q=0', 'application/json,text/plain']) {
    assert.is((await ask(new AppError('busy'), accept))[0], 'application/problem+json')
  }
})

test('tells how long to wait with every 503, never the same for all', async () => {
  const waits = new Set<number>()
  for (let i = 0; i < 60; i++) {
    const answer = await throwing(new AppError('pending_approval')).request('/x')
    waits.add(Number(answer.headers.get('retry-after')))
  }
  assert.ok(waits.size > 3)
  for (const wait of waits) assert.ok(wait >= 30 && wait <= 45)
})

test('keeps what nobody foresaw to itself, and tells the log which request it was', async () => {
  lines.length = 0
  const answer = await throwing(new Error('the password is hunter2')).request('/x')
  const body = await json(answer)
  assert.is(answer.status, 500)
  assert.is(body.detail, undefined)
  assert.not.match(JSON.stringify(body), /hunter2/)
  assert.match(lines.join(''), new RegExp(String(body.request_id)))
})

test('never logs the parameters of a query', async () => {
  lines.length = 0
  await throwing(postgresError('42P01')).request('/x')
  await throwing(postgresError('22P02', 'invalid input: "s3cret"')).request('/x')
  assert.is(lines.length, 2)
  assert.not.match(lines.join(''), /s3cret/)
})

test('knows what Postgres means', async () => {
  const expected: [string, Code][] = [
    ['23505', 'already_exists'],
    ['40P01', 'busy'],
    ['57P01', 'datastore_unavailable'],
    ['53100', 'datastore_unavailable'],
    ['53300', 'datastore_unavailable'],
    ['CONNECT_TIMEOUT', 'datastore_unavailable'],
    ['ECONNREFUSED', 'datastore_unavailable'],
    ['22021', 'invalid'],
    ['42P01', 'internal'],
  ]
  for (const [sqlState, code] of expected) {
    assert.is((await json(throwing(postgresError(sqlState)).request('/x'))).code, code, sqlState)
  }
})

test('takes no socket for that of Postgres but what its driver names', async () => {
  lines.length = 0
  const reset = Object.assign(new Error('aborted'), { code: 'ECONNRESET' })
  const refused = Object.assign(new Error('no'), { code: 'EACCES', syscall: 'connect' })
  for (const error of [reset, refused]) {
    assert.is((await json(throwing(error).request('/x'))).code, 'internal')
  }
  assert.not.match(lines.join(''), /datastore_unavailable/)
})

test('knows what Hono means', async () => {
  const expected: [400 | 413 | 415, Code][] = [
    [400, 'request_invalid'],
    [413, 'body_too_large'],
    [415, 'media_type'],
  ]
  for (const [status, code] of expected) {
    assert.is((await json(throwing(new HTTPException(status)).request('/x'))).code, code)
  }
})

test('an unknown path is 404, a known one with another method 405 with Allow', async () => {
  const app = throwing(new AppError('busy'))
  assert.is((await json(app.request('/y'))).code, 'not_found')
  const answer = await app.request('/x', { method: 'DELETE' })
  assert.is(answer.status, 405)
  assert.is(answer.headers.get('allow'), 'GET, HEAD, PUT')
})

test('tells whoever asks by HEAD how long it is, without it', async () => {
  for (const accept of ['*/*', 'text/plain']) {
    const app = throwing(new AppError('request_invalid', { detail: 'ä' }))
    const [head, get] = await Promise.all(
      ['HEAD', 'GET'].map((method) => app.request('/x', { method, headers: { accept } })),
    )
    const length = (await (get as Response).arrayBuffer()).byteLength
    assert.equal([head?.status, head?.headers.get('content-length'), await head?.text()], [400, String(length), ''])
  }
})

test("does not repeat a device's token that stands in the path", async () => {
  const body = await json(throwing(new AppError('not_found')).request('/v1/report/s3cret'))
  assert.is(body.instance, '/v1/report')
})

test('turns anything thrown into a problem', async () => {
  const anything = fc.anything().map((value) => Object.assign(new Error('x'), { code: value, cause: value }))
  await fc.assert(
    fc.asyncProperty(anything, async (thrown) => {
      const answer = await throwing(thrown).request('/x')
      assert.ok(answer.status >= 400)
      assert.is(typeof (await json(answer)).code, 'string')
    }),
    { numRuns: 50 },
  )
})
