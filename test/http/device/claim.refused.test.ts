import { sql } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { type Desk, openDesk, problemOf } from '../../fakes/desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('POST /v1/claim: refused')

let desk: Desk
const known = new FakeDevice('SN-1')
const stranger = new FakeDevice('SN-404')
let knownId: string

test.before(async () => {
  desk = await openDesk()
  const profile = await addProfile(desk.world)
  const cluster = await addCluster(desk.world)
  knownId = await addDevice(desk.world, known, { profile, cluster })
})
test.after(() => desk.world.end())

const refusal = async (answer: Promise<Response>) => {
  const { status, code, detail } = await problemOf(await answer)
  return detail === undefined ? `${status} ${code}` : `${status} ${code}: ${detail}`
}

const traces = async () => {
  const tables = ['enrollments', 'redeemed_nonces', 'events', 'audit', 'alarms']
  const counts = tables.map((t) => `(select count(*)::int from ${t}) as ${t}`).join(', ')
  const [row] = await desk.world.db.execute(sql.raw(`select ${counts}`))
  return row
}

test('refuses in the order of the protocol, without a detail, and leaves nothing behind', async () => {
  const nonce = await desk.nonce()
  const claim = (change: Record<string, unknown>, header: Record<string, unknown> = {}) =>
    desk.claim(known.claim(nonce, change, header))
  assert.is(await refusal(desk.claim('x'.repeat(40_000), { 'content-type': 'text/plain' })), '415 media_type')
  assert.is(await refusal(desk.claim('x'.repeat(40_000))), '413 claim_too_large')
  assert.is(await refusal(desk.claim('not.a.claim')), '400 claim_malformed')
  assert.is(await refusal(claim({ exp: 1 }, { typ: 'JWT' })), '400 header_invalid')
  assert.is(await refusal(claim({ exp: 1 }, { alg: 'HS256' })), '400 alg_not_allowed')
  assert.is(await refusal(claim({ exp: 1 }, { kid: undefined })), '400 header_key_source')
  assert.is(await refusal(claim({ exp: 1, jti: 'short' })), '400 device_time_claim')
  assert.is(await refusal(claim({ jti: 'short', eat_nonce: 'bad' })), '400 claim_schema')
  assert.is(await refusal(claim({ eat_nonce: 'A'.repeat(48), aud: 'https://other' })), '401 nonce_invalid')
  assert.is(await refusal(claim({ aud: 'https://other', sub: 'SN-404' })), '401 wrong_audience')
  assert.is(await refusal(claim({ sub: 'SN-404' })), '403 device_unknown')
  assert.is(await refusal(desk.claim(tampered(known.claim(nonce)))), '401 bad_signature')
  assert.is(await refusal(claim({}, { kid: undefined, x5c: ['AAAA'] })), '401 x5c_untrusted')
  assert.is(await refusal(claim({ tpm: {} })), '401 tpm_unsupported')
  assert.equal(await traces(), { enrollments: 0, redeemed_nonces: 0, events: 0, audit: 0, alarms: 0 })
})

function tampered(claim: string): string {
  const [header, payload, signature = ''] = claim.split('.')
  const bytes = Buffer.from(signature, 'base64url')
  bytes.writeUInt8(bytes.readUInt8(10) ^ 1, 10)
  return `${header}.${payload}.${bytes.toString('base64url')}`
}

test('gives a fresh nonce with a refused one', async () => {
  const stale = await desk.nonce()
  desk.world.clock.now += 301
  const answer = await desk.claim(known.claim(stale))
  const fresh = answer.headers.get('rollcall-nonce') as string
  assert.is(await refusal(Promise.resolve(answer)), '401 nonce_expired')
  assert.is(await refusal(desk.claim(stranger.claim(fresh))), '403 device_unknown')
})

test('answers an unknown serial, an unpinned kid and a foreign jwk with the same bytes', async () => {
  const nonce = await desk.nonce()
  const attempts = [
    stranger.claim(nonce),
    stranger.claim(nonce, { sub: 'SN-1' }),
    stranger.claim(nonce, {}, { kid: undefined, jwk: stranger.jwk }),
    stranger.claim(nonce, { sub: 'SN-1' }, { kid: undefined, jwk: stranger.jwk }),
    stranger.claim(nonce, { sub: 'sn-1' }, { kid: known.thumbprint.replace(/^./, 'x') }),
  ]
  const answers = await Promise.all(attempts.map((attempt) => desk.claim(attempt)))
  const bodies = await Promise.all(answers.map(async (a) => (await a.text()).replace(/"request_id":"[^"]*"/, '')))
  const heads = answers.map((a) => JSON.stringify([a.status, [...a.headers].filter(([name]) => name !== 'date')]))
  assert.is(new Set(bodies).size, 1)
  assert.is(new Set(heads).size, 1)
})

test('raises one alarm an hour for a proven stranger under a known serial, none for a kid', async () => {
  const alarms = async () => {
    await new Promise((resolve) => setTimeout(resolve, 100))
    const rows = await desk.world.db.execute(sql`select device_id, name, detail->>'thumbprint' as key from events`)
    return [...rows]
  }
  for (let i = 0; i < 3; i++) {
    await desk.claim(stranger.claim(await desk.nonce(), { sub: 'SN-1' }, { kid: undefined, jwk: stranger.jwk }))
    await desk.claim(stranger.claim(await desk.nonce(), { sub: 'SN-1' }))
  }
  assert.equal(await alarms(), [{ device_id: knownId, name: 'alarm.stranger_key', key: stranger.thumbprint }])
})

test('keeps a stranger with many keys from filling a timeline', async () => {
  desk.world.clock.now += 7_200
  const alarms = async () => {
    const rows = await desk.world.db.execute(sql`select 1 from events where name = 'alarm.stranger_key'`)
    return rows.length
  }
  const before = await alarms()
  for (let i = 0; i < 12; i++) {
    const other = new FakeDevice('SN-1')
    await desk.claim(other.claim(await desk.nonce(), {}, { kid: undefined, jwk: other.jwk }))
  }
  await new Promise((resolve) => setTimeout(resolve, 200))
  assert.is((await alarms()) - before, 3)
})

test('says nothing of a serial when certificate or TPM evidence is not trusted', async () => {
  const nonce = await desk.nonce()
  for (const sub of ['SN-1', 'SN-404']) {
    const x5c = stranger.claim(nonce, { sub }, { kid: undefined, x5c: ['AAAA'] })
    assert.is(await refusal(desk.claim(x5c)), '401 x5c_untrusted')
    assert.is(await refusal(desk.claim(stranger.claim(nonce, { sub, tpm: {} }))), '401 tpm_unsupported')
  }
})

test('is 405 with Allow for another method, and 404 for the challenge of a TPM', async () => {
  const answer = await desk.app.request('/v1/claim')
  assert.is(answer.status, 405)
  assert.is(answer.headers.get('allow'), 'POST')
  assert.ok(answer.headers.get('rollcall-time'))
  assert.is((await desk.app.request('/v1/challenge', { method: 'POST' })).status, 404)
  assert.is((await desk.app.request('/v1/challenge', { method: 'PUT' })).headers.get('allow'), 'GET, HEAD')
  assert.is((await desk.app.request('/v1/boot/abc/user-data')).status, 404)
})
