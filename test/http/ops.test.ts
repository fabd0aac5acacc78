import { setTimeout as sleep } from 'node:timers/promises'
import { Hono, type MiddlewareHandler } from 'hono'
import pino from 'pino'
import * as assert from 'uvu/assert'
import { AppError } from '../../src/errors.ts'
import { type Edge, observed } from '../../src/http/edge.ts'
import { healthRoutes, type Ready } from '../../src/http/ops/health.ts'
import { createMetrics, metricsRoutes } from '../../src/http/ops/metrics.ts'
import { notFound, onError } from '../../src/http/problem.ts'
import { requestId } from '../../src/http/request-id.ts'
import { operationsOf } from '../../src/operations.ts'
import { suite } from '../suite.ts'

const letIn: MiddlewareHandler = (_, next) => next()
const turnAway: MiddlewareHandler = async () => {
  throw new AppError('token_invalid')
}

function build({ ready = async () => true, guard = letIn }: { ready?: Ready; guard?: MiddlewareHandler } = {}) {
  const lines: Record<string, unknown>[] = []
  const log = pino({ level: 'info' }, { write: (line) => void lines.push(JSON.parse(line)) })
  const edge: Edge = { log, metrics: createMetrics(), draining: () => false, now: () => 0 }
  const app = new Hono()
  app.use(requestId() as never, observed(edge) as never)
  app.onError(onError(log))
  app.route('/', healthRoutes(ready))
  app.route('/', metricsRoutes(edge.metrics, guard))
  app.post('/v1/report/:token', (c) => c.body(null, 204))
  app.notFound(notFound(app))
  return { app, lines, metrics: () => edge.metrics.registry.metrics() }
}
const code = async (answer: Response) => ((await answer.json()) as { code: string }).code

const test = suite('operations')

test('readyz: 503 while the database does not answer', async () => {
  const { app } = build({ ready: () => Promise.reject(Object.assign(new Error('no'), { code: 'ECONNREFUSED' })) })
  const answer = await app.request('/readyz')
  assert.is(answer.status, 503)
  assert.ok(answer.headers.has('retry-after'))
  assert.is(await code(answer), 'datastore_unavailable')
})

test('readyz: 503 while the schema is not there', async () => {
  const answer = await build({ ready: async () => false }).app.request('/readyz')
  assert.is(answer.status, 503)
  assert.is(await code(answer), 'datastore_unavailable')
})

test('readyz: who asks while the database is asked shares its answer, whatever it is', async () => {
  const asked: { answer: (rows: unknown) => void; fail: (error: Error) => void }[] = []
  const sql = () => new Promise((answer, fail) => asked.push({ answer, fail }))
  const { ready } = operationsOf({ sql: sql as never, log: pino({ level: 'silent' }), now: () => 0 })
  const first = Array.from({ length: 100 }, () => ready().catch((error) => error.message))
  assert.is(asked.length, 1)
  asked[0]?.fail(new Error('away'))
  assert.equal(new Set(await Promise.all(first)), new Set(['away']))
  const second = [ready(), ready()]
  assert.is(asked.length, 2)
  asked[1]?.answer([{ newest: '9999999999999' }])
  assert.equal(await Promise.all(second), [true, true])
})

test('metrics: what is asked for twice within a moment says no nonsense of the event loop', async () => {
  const { metrics } = build()
  const delays = async () =>
    (await metrics()).match(/^nodejs_eventloop_lag_\w+ \S+$/gm)?.map((line) => Number(line.split(' ')[1]))
  for (const told of [await delays(), await sleep(1_200).then(delays), await delays()]) {
    assert.ok(told?.length)
    assert.ok(
      told.every((seconds) => seconds >= 0 && seconds < 60),
      `${told}`,
    )
  }
})

test('metrics: 401 without a token', async () => {
  const answer = await build({ guard: turnAway }).app.request('/metrics')
  assert.is(answer.status, 401)
  assert.is(await code(answer), 'token_invalid')
})

for (const path of ['/healthz', '/readyz', '/metrics']) {
  test(`${path}: 405 for what only reads, with Allow`, async () => {
    const answer = await build().app.request(path, { method: 'POST' })
    assert.is(answer.status, 405)
    assert.is(answer.headers.get('allow'), 'GET, HEAD')
    assert.is(await code(answer), 'method_not_allowed')
  })

  test(`${path}: 200, and HEAD says how long it is`, async () => {
    const { app } = build()
    const answer = await app.request(path)
    const head = await app.request(path, { method: 'HEAD' })
    assert.is(answer.status, 200)
    assert.is(head.status, 200)
    assert.match(head.headers.get('content-length') ?? '', /^[1-9]\d*$/)
    assert.is(await head.text(), '')
  })
}

test('healthz: 200 though the database is away', async () => {
  const answer = await build({ ready: () => Promise.reject(new Error('away')) }).app.request('/healthz')
  assert.is(answer.status, 200)
})

test('neither log nor metrics hold a path, which may hold a secret', async () => {
  const { app, lines, metrics } = build()
  await app.request('/v1/report/secret-token', { method: 'POST' })
  await app.request('/no/secret-token')
  const text = JSON.stringify(lines) + (await metrics())
  assert.not.match(text, 'secret-token')
  assert.match(text, 'route="/v1/report/:token",status="204"')
  assert.match(text, 'route="none",status="404"')
})

test('each request is one log line with an id of ours', async () => {
  const { app, lines } = build()
  await app.request('/nothing', { headers: { 'x-request-id': 'mine' } })
  assert.is(lines.length, 1)
  const { request_id, method, route, status, ms } = lines[0] as Record<string, unknown>
  assert.match(String(request_id), /^[0-9a-f-]{36}$/)
  assert.equal({ method, route, status }, { method: 'GET', route: 'none', status: 404 })
  assert.type(ms, 'number')
})

test('what boxes and probes ask all day is not logged when it goes well', async () => {
  const { app, lines } = build()
  await app.request('/healthz')
  assert.is(lines.length, 0)
})

test('invented methods do not become labels', async () => {
  const { app, metrics } = build()
  await app.request('/healthz', { method: 'FROBNICATE' })
  assert.not.match(await metrics(), 'FROBNICATE')
})
