import * as assert from 'uvu/assert'
import { type AdminDesk, openAdminDesk } from '../../fakes/admin-desk.ts'
import { suite } from '../../suite.ts'

const test = suite('admin tokens')
let desk: AdminDesk
test.before(async () => {
  desk = await openAdminDesk()
})
test.after(() => desk.world.end())

test('401: no token, half a token, another scheme, an unknown one: the same answer', async () => {
  const strange = `rc_${'A'.repeat(43)}`
  const answers = [
    await desk.call('GET', '/clusters', undefined, { as: 'nobody' }),
    await desk.call('GET', '/clusters', undefined, { as: { token: 'rc_short' } }),
    await desk.call('GET', '/clusters', undefined, { as: { token: strange } }),
    await desk.call('GET', '/clusters', undefined, { as: 'nobody', headers: { authorization: `Basic ${strange}` } }),
  ]
  for (const { status, body, headers } of answers) {
    assert.is(status, 401)
    assert.is(body.code, 'token_invalid')
    assert.is(body.detail, 'The token is missing, unknown or ended')
    assert.is(headers.get('www-authenticate'), 'Bearer')
  }
})

test('401 comes before anything else is said about the request', async () => {
  const { status } = await desk.call('POST', '/clusters', 'not json', { as: 'nobody' })
  assert.is(status, 401)
})

test('403: each scope includes those before it and nothing more', async () => {
  const input = { name: 'x', scope: 'read', expires: 'never' }
  assert.is((await desk.call('POST', '/tokens', input, { as: 'read' })).body.code, 'forbidden')
  assert.is((await desk.call('POST', '/tokens', input, { as: 'write' })).body.code, 'forbidden')
  assert.is((await desk.call('POST', '/tokens', input, { as: 'admin' })).status, 422)
  for (const as of ['read', 'write', 'admin'] as const) {
    assert.is((await desk.call('GET', '/tokens', undefined, { as })).status, 200)
  }
})

test('201: shows the token once, and it works', async () => {
  const made = await desk.call('POST', '/tokens', { name: 'ci', scope: 'write' })
  assert.is(made.status, 201)
  assert.match(made.body.token, /^rc_[A-Za-z0-9_-]{43}$/)
  assert.is(made.headers.get('location'), `/api/v1/tokens/${made.body.id}`)
  assert.ok(made.headers.get('etag'))
  const as = { token: made.body.token as string }
  assert.is((await desk.call('GET', '/tokens/ci', undefined, { as })).body.id, made.body.id)
  const list = await desk.call('GET', '/tokens')
  assert.not.ok(list.text.includes(made.body.token))
  assert.not.match(list.text, /hash/)
})

test('409: a live name is taken; 201 again once it ended', async () => {
  await desk.call('POST', '/tokens', { name: 'twice', scope: 'read' })
  assert.is((await desk.call('POST', '/tokens', { name: 'twice', scope: 'read' })).body.code, 'already_exists')
  assert.is((await desk.call('DELETE', '/tokens/twice')).status, 204)
  assert.is((await desk.call('POST', '/tokens', { name: 'twice', scope: 'read' })).status, 201)
})

test('204: a deleted token ends at once, although it was in use a moment ago', async () => {
  const { body } = await desk.call('POST', '/tokens', { name: 'leaving', scope: 'read' })
  const as = { token: body.token as string }
  assert.is((await desk.call('GET', '/clusters', undefined, { as })).status, 200)
  const headers = { 'idempotency-key': 'leave-1' }
  assert.is((await desk.call('DELETE', `/tokens/${body.id}`, undefined, { headers })).status, 204)
  assert.is((await desk.call('GET', '/clusters', undefined, { as })).status, 401)
  assert.is((await desk.call('DELETE', `/tokens/${body.id}`)).status, 404)
})

test('expires: a span or a moment, on the second', async () => {
  const now = desk.world.clock.now
  const span = await desk.call('POST', '/tokens', { name: 'span', scope: 'read', expires: '2h' })
  assert.is(span.body.expires_at, now + 7_200)
  const moment = await desk.call('POST', '/tokens', { name: 'moment', scope: 'read', expires: now + 60 })
  assert.is(moment.body.expires_at, now + 60)
  const as = { token: moment.body.token as string }
  assert.is((await desk.call('GET', '/clusters', undefined, { as })).status, 200)
  desk.world.clock.now = now + 60
  assert.is((await desk.call('GET', '/clusters', undefined, { as })).status, 401)
  desk.world.clock.now = now
})

test('422: an expiry that has passed, has no unit, or is beyond a century', async () => {
  for (const expires of [1, 0, -1, '30', 'never', '0d', '9999999999w', '', 1e300, 1.5]) {
    const { status, body } = await desk.call('POST', '/tokens', { name: 'odd', scope: 'read', expires })
    assert.is(status, 422, String(expires))
    assert.is(body.errors[0].path, 'expires')
  }
})

test('409: a repeat under the same Idempotency-Key, whose answer is kept nowhere', async () => {
  const headers = { 'idempotency-key': 'make-once' }
  const input = { name: 'once', scope: 'read' }
  const { body } = await desk.call('POST', '/tokens', input, { headers })
  const again = await desk.call('POST', '/tokens', input, { headers })
  assert.is(again.status, 409)
  assert.is(again.body.code, 'already_exists')
  const other = await desk.call('POST', '/tokens', { ...input, name: 'other' }, { headers })
  assert.is(other.body.code, 'idempotency_mismatch')
  const rows = await desk.world.sql`select row_to_json(i)::text as row from idempotency i`
  assert.ok(rows.length > 0)
  assert.not.ok(rows.some((row) => String(row.row).includes(body.token)))
})
