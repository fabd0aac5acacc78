import { createHash } from 'node:crypto'
import { existsSync, readdirSync, statSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { DeviceServer } from '../fakes/device-server.ts'
import { Box, shells, template, until } from './box.ts'
import { suiteUnder } from './under.ts'

const client = template('client.sh')
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

for (const [name, shell] of shells) {
  const { test, once } = suiteUnder(name, 'client.sh claim', { timeout: 120_000 })
  let server: DeviceServer
  let box: Box

  test.before.each(async () => {
    server = await DeviceServer.start()
    box = new Box(server)
  })
  test.after.each(async () => {
    box.remove()
    await server.close()
  })

  const claim = () => box.run(shell, client, 'claim')
  const nonces = () => server.verified.map(({ payload }) => payload.eat_nonce)

  once('asks nothing of anybody once the document was applied', async () => {
    box.write('state/applied', '')
    const { code } = await claim()
    assert.is(code, 0)
    assert.is(server.seen.length, 0)
    assert.not(existsSync(box.path('run/user-data')))
  })

  once('refuses to start without an address that is https, or without a pin', async () => {
    for (const change of [{ ROLLCALL_URL: 'http://127.0.0.1' }, { ROLLCALL_URL: '' }, { ROLLCALL_PIN: '' }]) {
      Object.assign(box.env, { ROLLCALL_URL: server.url, ROLLCALL_PIN: server.pin }, change)
      assert.is((await claim()).code, 2, JSON.stringify(change))
    }
    assert.is(server.seen.length, 0)
  })

  test('refuses wrong usage', async () => {
    for (const args of [[], ['clam'], ['claim', 'file'], ['ignition'], ['identity', '--out', 'x']])
      assert.is((await box.run(shell, client, ...args)).code, 2, args.join(' '))
  })

  test('tells a server with another key nothing, and says that it is not trusted', async () => {
    box.env.ROLLCALL_PIN = `sha256//${Buffer.alloc(32).toString('base64')}`
    const running = box.start(shell, client, 'claim')
    await until(() => running.stderr().includes('A KEY THAT THIS MACHINE WAS NOT TOLD TO TRUST'))
    await running.kill()
    assert.is(server.seen.length, 0)
  })

  once('trusts a standby key as well', async () => {
    box.env.ROLLCALL_PIN = `sha256//${Buffer.alloc(32).toString('base64')};${server.pin}`
    assert.is((await claim()).code, 0)
  })

  test('403 device_unknown: shows serial, key and the line to import, and asks again until it is known', async () => {
    server.plan('/v1/claim', { status: 403, body: 'device_unknown' }, { status: 403, body: 'device_unknown: unknown' })
    const { code, stderr } = await claim()
    assert.is(code, 0)
    const [known] = server.verified
    assert.match(stderr, `serial number SN-0001, key ${known?.thumbprint}, server ${server.url}: refused (403`)
    const line = /rollcall: (\{"serial".*\})/.exec(stderr)?.[1]
    assert.equal(JSON.parse(line ?? '').identity, { kind: 'key', jwk: known?.jwk })
    assert.is(box.sleeps().filter((seconds) => seconds >= 60 && seconds <= 76).length, 2)
  })

  test('503: waits as told and a little longer, says why, and makes a fresh claim', async () => {
    const wait = { status: 503, headers: { 'Retry-After': '40' }, body: 'pending_approval: an admin must approve' }
    server.plan('/v1/claim', wait, wait, wait)
    const { code, stderr } = await claim()
    assert.is(code, 0)
    assert.match(stderr, 'An admin must approve this machine')
    assert.is(box.sleeps().length, 3)
    assert.ok(box.sleeps().every((seconds) => seconds >= 40 && seconds <= 51))
    assert.is(new Set(server.requests('/v1/claim').map(({ body }) => body)).size, 4)
    // Nobody took its nonce, so it is not asked for another.
    assert.is(server.requests('/v1/challenge').length, 1)
  })

  test('503 with a Retry-After that is no number of seconds: waits half a minute', async () => {
    for (const value of ['Wed, 21 Oct 2026 07:28:00 GMT', '-5', '08', '99999999999999999999'])
      server.plan('/v1/claim', { status: 503, headers: { 'Retry-After': value }, body: 'busy' })
    assert.is((await claim()).code, 0)
    assert.is(box.sleeps().length, 4)
    assert.ok(box.sleeps().every((seconds) => seconds >= 30 && seconds <= 38))
  })

  once('503 at the challenge: waits as told', async () => {
    server.plan('/v1/challenge', { status: 503, headers: { 'Retry-After': '20' }, body: 'shutting_down' })
    assert.is((await claim()).code, 0)
    assert.ok((box.sleeps()[0] ?? 0) >= 20)
  })

  once('401 nonce_expired: takes the fresh nonce out of the refusal', async () => {
    const nonce = server.freshNonce()
    server.plan('/v1/claim', { status: 401, headers: { 'Rollcall-Nonce': nonce }, body: 'nonce_expired' })
    assert.is((await claim()).code, 0)
    assert.equal(nonces(), [nonce])
    assert.is(server.requests('/v1/challenge').length, 1)
  })

  once('409 claim_replayed: makes a fresh claim', async () => {
    server.plan('/v1/claim', { status: 409, body: 'claim_replayed' })
    assert.is((await claim()).code, 0)
    assert.is(server.requests('/v1/challenge').length, 2)
  })

  test('every other refusal is said with its code and what to do, and asked again', async () => {
    const refusals = [
      [403, 'device_revoked'],
      [409, 'reenroll_denied'],
      [409, 'identity_conflict'],
      [403, 'trust_too_low'],
      [401, 'wrong_audience'],
      [403, 'x5c_new'],
    ] as const
    for (const [status, code] of refusals) server.plan('/v1/claim', { status, body: `${code}: because` })
    const { code, stderr } = await claim()
    assert.is(code, 0)
    for (const [status, one] of refusals) assert.match(stderr, `refused (${status} ${one}: because)`)
  })

  test('what a server says cannot steer the terminal', async () => {
    server.plan('/v1/claim', { status: 403, body: 'device_revoked: \u001b[2J\u0007\u009b31m%s%n$(id)`id`' })
    const { code, stderr } = await claim()
    assert.is(code, 0)
    assert.match(stderr, '[2J')
    assert.not(/[^\n\x20-\x7e]/.test(stderr))
  })

  for (const fault of ['lost', 'half'] as const) {
    test(`an answer that is ${fault} is asked for again with the same bytes`, async () => {
      server.plan('/v1/claim', { fault }, { fault })
      const { code, stderr } = await claim()
      assert.is(code, 0, stderr)
      assert.is(box.read('run/user-data'), server.document.body)
      const bodies = server.requests('/v1/claim').map(({ body }) => body)
      assert.is(bodies.length, 3)
      assert.is(new Set(bodies).size, 1)
    })
  }

  once('a document that does not have its digest counts as no answer', async () => {
    server.plan('/v1/claim', { headers: { 'Rollcall-Digest': `sha256=${'0'.repeat(64)}` } })
    assert.is((await claim()).code, 0)
    assert.is(new Set(server.requests('/v1/claim').map(({ body }) => body)).size, 1)
    assert.is(server.requests('/v1/claim').length, 2)
  })

  once('past the time in which the server repeats its answer, the claim is a fresh one', async () => {
    box.env.ROLLCALL_SAME_CLAIM = '0'
    server.plan('/v1/claim', { fault: 'lost' })
    assert.is((await claim()).code, 0)
    assert.is(new Set(nonces()).size, 2)
  })

  once('a server that is not there yet is waited for', async () => {
    server.plan('/v1/challenge', { fault: 'lost' }, { status: 404, body: 'not found' }, { status: 200, body: 'hello' })
    const { code, stderr } = await claim()
    assert.is(code, 0)
    assert.match(stderr, `no answer from ${server.url}`)
    assert.match(stderr, 'is the address right?')
  })

  test('a clock of 1970 or 2099 neither stops the claim nor survives it', async () => {
    for (const year of ['1970', '2099']) {
      box.write('offset', String(Math.floor(Date.parse(`${year}-06-01`) / 1000) - server.now()))
      box.write('clock-set', '')
      assert.is((await claim()).code, 0)
      assert.ok(Math.abs(Number(box.read('offset'))) <= 2, year)
      assert.is(box.read('clock-set').trim().split('\n').length, 1, year)
    }
  })

  once('a clock that is right to the minute is left alone, and so is any where that is wanted', async () => {
    box.write('offset', '-50')
    assert.is((await claim()).code, 0)
    box.write('offset', '-5000')
    box.env.ROLLCALL_STEP_CLOCK = '0'
    assert.is((await claim()).code, 0)
    assert.not(existsSync(box.path('clock-set')))
  })

  once('a time that is no time sets no clock', async () => {
    for (const time of ['0', '-1', '99999999999', '17954$(id)00', 'soon'])
      server.plan('/v1/claim', { status: 503, headers: { 'Retry-After': '1', 'Rollcall-Time': time }, body: 'busy' })
    assert.is((await claim()).code, 0)
    assert.not(existsSync(box.path('clock-set')))
  })

  test('the claim says what PROTOCOL.md asks for, and escapes what the maker wrote', async () => {
    await claim()
    const payload = server.verified[0]?.payload ?? {}
    const { eat_nonce, jti, iat, uptime, ...rest } = payload
    assert.equal(rest, {
      sub: 'SN-0001',
      aud: server.url,
      hw: {
        vendor: 'Acme "Edge" \\ Co',
        product: '',
        serial: 'SN-0001',
        uuid: '4c4c4544-0042-3510-8056-b4c04f4e3232',
        macs: ['02:00:00:00:00:0a'],
      },
    })
    assert.ok(Number.isInteger(iat) && Number.isInteger(uptime))
  })

  once('the audience is the origin of the address unless another is given', async () => {
    const { port } = new URL(server.url)
    box.env.ROLLCALL_URL = `https://LocalHost:${port}/`
    server.audience = `https://localhost:${port}`
    assert.is((await claim()).code, 0)
    box.env.ROLLCALL_AUDIENCE = 'https://roll.example.net'
    server.audience = 'https://roll.example.net'
    assert.is((await claim()).code, 0)
  })

  test('the document lies beside its type, digest and enrollment, for root alone, and nothing else is left', async () => {
    server.document = { body: '#cloud-config\nhostname: "ä\u0000b"\n', type: 'text/cloud-config' }
    assert.is((await claim()).code, 0)
    assert.is(box.read('run/user-data'), server.document.body)
    assert.is(box.read('run/user-data.type'), 'text/cloud-config\n')
    assert.is(box.read('run/user-data.digest'), `sha256=${sha256(server.document.body)}\n`)
    assert.is(box.read('run/enrollment'), 'enr_test\n')
    assert.equal(readdirSync(box.path('run')).sort(), ['enrollment', 'user-data', 'user-data.digest', 'user-data.type'])
    for (const file of readdirSync(box.path('run'))) assert.is(statSync(box.path(`run/${file}`)).mode & 0o777, 0o600)
    assert.is(statSync(box.path('run')).mode & 0o777, 0o700)
  })

  test('settings come from client.env, and the environment wins over it', async () => {
    const { ROLLCALL_URL: url = '', ROLLCALL_PIN: pin = '' } = box.env
    delete box.env.ROLLCALL_URL
    delete box.env.ROLLCALL_PIN
    box.write(
      'etc/rollcall/client.env',
      `ROLLCALL_URL='${url}'\nROLLCALL_PIN='${pin}'\nROLLCALL_SERIAL='of-the-file'\n`,
    )
    box.env.ROLLCALL_SERIAL = 'of the environment'
    assert.is((await claim()).code, 0)
    assert.is(server.verified[0]?.payload.sub, 'of the environment')
  })

  once('says the same on the console as on standard error', async () => {
    box.write('console', '')
    const { stderr } = await claim()
    assert.match(box.read('console'), 'serial number SN-0001')
    assert.match(stderr, 'serial number SN-0001')
  })
}
