import * as assert from 'uvu/assert'
import { answerOnce } from '../../../src/services/answer-once.ts'
import { findAnswer } from '../../../src/store/idempotency.ts'
import { type AdminDesk, clusterInput, openAdminDesk } from '../../fakes/admin-desk.ts'
import { suite } from '../../suite.ts'

const test = suite('Idempotency-Key')
let desk: AdminDesk
test.before(async () => {
  desk = await openAdminDesk()
})
test.after(() => desk.world.end())

const key = (name: string, more: Record<string, string> = {}) => ({ headers: { 'idempotency-key': name, ...more } })
const count = async (name: string) =>
  Number((await desk.world.sql`select count(*) from clusters where name = ${name}`)[0]?.count)

test('422: a key that is empty, too long or not visible ASCII', async () => {
  for (const bad of ['', 'a b', 'x'.repeat(256), 'ä']) {
    const { status, body } = await desk.call('POST', '/clusters', clusterInput('bad-key'), key(bad))
    assert.is(status, 422)
    assert.is(body.errors[0].path, 'header.idempotency-key')
  }
  assert.is(await count('bad-key'), 0)
})

test('422: the same key with another body or another query', async () => {
  await desk.call('POST', '/clusters', clusterInput('one'), key('mismatch'))
  const other = await desk.call('POST', '/clusters', clusterInput('two'), key('mismatch'))
  assert.is(other.status, 422)
  assert.is(other.body.code, 'idempotency_mismatch')
  const query = await desk.call('POST', '/clusters?x=1', clusterInput('one'), key('mismatch'))
  assert.is(query.body.code, 'idempotency_mismatch')
  assert.is(await count('two'), 0)
})

test('a repeat gets the first answer to the byte, and does nothing', async () => {
  const first = await desk.call('POST', '/clusters', clusterInput('repeat'), key('repeat'))
  await desk.call('PATCH', '/clusters/repeat', { tls_sans: ['10.0.0.1'] })
  const again = await desk.call('POST', '/clusters', clusterInput('repeat'), key('repeat'))
  assert.is(again.status, 201)
  assert.is(again.text, first.text)
  for (const name of ['content-type', 'etag', 'location']) {
    assert.ok(first.headers.get(name))
    assert.is(again.headers.get(name), first.headers.get(name))
  }
})

test('a repeated refusal is the first one, request_id and all', async () => {
  await desk.call('POST', '/clusters', clusterInput('taken'))
  const first = await desk.call('POST', '/clusters', clusterInput('taken'), key('refused'))
  assert.is(first.status, 409)
  await desk.call('DELETE', '/clusters/taken')
  const again = await desk.call('POST', '/clusters', clusterInput('taken'), key('refused'))
  assert.is(again.text, first.text)
  assert.is(await count('taken'), 1)
})

test('204 is repeated as 204', async () => {
  await desk.call('POST', '/clusters', clusterInput('leaves'))
  assert.is((await desk.call('DELETE', '/clusters/leaves', undefined, key('leave'))).status, 204)
  assert.is((await desk.call('DELETE', '/clusters/leaves', undefined, key('leave'))).status, 204)
  assert.is((await desk.call('DELETE', '/clusters/leaves')).status, 404)
})

test('412 is about the moment: the key stays free', async () => {
  await desk.call('POST', '/clusters', clusterInput('moment'))
  const patch = { tls_sans: ['10.0.0.2'] }
  const stale = await desk.call('PATCH', '/clusters/moment', patch, key('moment', { 'if-match': '"old"' }))
  assert.is(stale.status, 412)
  const etag = (await desk.call('GET', '/clusters/moment')).headers.get('etag') as string
  assert.is((await desk.call('PATCH', '/clusters/moment', patch, key('moment', { 'if-match': etag }))).status, 200)
  assert.is((await desk.call('PATCH', '/clusters/moment', patch, key('moment', { 'if-match': etag }))).status, 200)
})

test('keys belong to a token, a method and a path', async () => {
  const two = (await desk.call('POST', '/tokens', { name: 'second', scope: 'admin' })).body.token as string
  await desk.call('POST', '/clusters', clusterInput('mine'), key('shared'))
  const theirs = await desk.call('POST', '/clusters', clusterInput('theirs'), { ...key('shared'), as: { token: two } })
  assert.is(theirs.status, 201)
  assert.is((await desk.call('PATCH', '/clusters/mine', {}, key('shared'))).status, 200)
  assert.is((await desk.call('PATCH', '/clusters/theirs', {}, key('shared'))).status, 200)
})

test('after 24 h the key is free again, not a second earlier', async () => {
  const { clock } = desk.world
  const start = clock.now
  await desk.call('POST', '/clusters', clusterInput('daily'), key('daily'))
  await desk.call('DELETE', '/clusters/daily')
  clock.now = start + 86_399
  assert.is((await desk.call('POST', '/clusters', clusterInput('other'), key('daily'))).status, 422)
  clock.now = start + 86_400
  assert.is((await desk.call('POST', '/clusters', clusterInput('other'), key('daily'))).status, 201)
  clock.now = start
})

test('fifty at once: one does it, the others get its answer or are told to wait', async () => {
  const body = clusterInput('crowd')
  const answers = await Promise.all(
    Array.from({ length: 50 }, () => desk.call('POST', '/clusters', body, key('crowd'))),
  )
  assert.is(await count('crowd'), 1)
  const done = answers.filter((answer) => answer.status === 201)
  assert.ok(done.length > 0)
  assert.is(new Set(done.map((answer) => answer.text)).size, 1)
  for (const answer of answers.filter((one) => one.status !== 201)) {
    assert.is(answer.body.code, 'busy')
    assert.ok(Number(answer.headers.get('retry-after')) >= 1)
  }
})

test('503 busy while the first runs; if that one fails, nothing is left of it', async () => {
  const where = { tokenId: 'tok_x', route: 'POST /x', key: 'held' }
  const hash = Buffer.alloc(32)
  let release: (error: Error) => void = () => {}
  const held = new Promise<never>((_, reject) => {
    release = reject
  })
  let entered: () => void = () => {}
  const running = new Promise<void>((resolve) => {
    entered = resolve
  })
  const run = async () => {
    entered()
    return held
  }
  const attempt = { hash: () => hash, wholeHash: async () => hash, run }
  const first = answerOnce(desk.world, where, attempt).catch((error: Error) => error.message)
  await running
  const second = await answerOnce(desk.world, where, attempt).catch((error: { code: string }) => error.code)
  assert.is(second, 'busy')
  release(new Error('crashed'))
  assert.is(await first, 'crashed')
  assert.is(await findAnswer(desk.world.db, where), undefined)
  const done = async () => ({ answer: { status: 200, body: '{}', headers: {} } })
  assert.is(await answerOnce(desk.world, where, { ...attempt, run: done }), undefined)
  assert.equal(await answerOnce(desk.world, where, { ...attempt, run: done }), { status: 200, body: '{}', headers: {} })
})

test('a connection that dies in the middle frees the key and undoes the work', async () => {
  const where = { tokenId: 'tok_x', route: 'POST /x', key: 'killed' }
  const hash = Buffer.alloc(32)
  const die = async (inner: typeof desk.world) => {
    await inner.db.execute(`insert into versions values ('half', '{}', '{}', now())`)
    await inner.db.execute('select pg_terminate_backend(pg_backend_pid())')
    return {}
  }
  const attempt = { hash: () => hash, wholeHash: async () => hash }
  const failed = await answerOnce(desk.world, where, { ...attempt, run: die as never }).catch(() => 'failed')
  assert.is(failed, 'failed')
  assert.is((await desk.world.sql`select 1 from versions where version = 'half'`).length, 0)
  const done = async () => ({ answer: { status: 204, body: '', headers: {} } })
  assert.is(await answerOnce(desk.world, where, { ...attempt, run: done }), undefined)
})
