import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { pinsOf } from '../../src/cli/credentials.ts'
import { loadConfig } from '../../src/config.ts'
import { makeCa, makeLeaf, newKey, type Pair } from '../../src/tls/certificates.ts'
import { pinList, pinOf } from '../../src/tls/pins.ts'
import { testDatabase } from '../postgres.ts'
import { ask, rollcall, serving } from '../rollcall.ts'
import { suite } from '../suite.ts'

const test = suite('the pins of a certificate of one’s own', { timeout: 240_000 })

const folder = mkdtempSync(join(tmpdir(), 'rollcall-own-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))

const [ours, standby, next] = [newKey(), newKey(), newKey()]
const identity = { pins: pinList(ours, standby) }
let own: Pair & { env: Record<string, string> }
test.before(async () => {
  const now = Math.floor(Date.now() / 1000)
  const key = newKey()
  const certificate = await makeLeaf(await makeCa(now), key, ['127.0.0.1', 'localhost'], now)
  own = { certificate, key, env: { ROLLCALL_TLS_CERT: certificate, ROLLCALL_TLS_KEY: key } }
})

const certificateOf = async (key: string) => makeLeaf(await makeCa(1_700_000_000), key, ['localhost'], 1_700_000_000)
const pins = (env: Record<string, string>) => pinsOf(loadConfig({ flags: {}, env, root: true }), identity).split(';')

test('refuse what holds no key', () => {
  const broken = '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----'
  assert.throws(() => pins({ ROLLCALL_TLS_NEXT_KEY: broken }), /ROLLCALL_TLS_NEXT_KEY holds no key/)
  assert.throws(() => pins({ ROLLCALL_TLS_NEXT_KEY: next }), /ROLLCALL_TLS_NEXT_KEY: must be the PEM of a public key/)
})

test('begin with the key that is served, and hold the next one ahead and ours for the way back', async () => {
  const ahead = { ROLLCALL_TLS_NEXT_KEY: await certificateOf(next) }
  assert.equal(pins({}), [pinOf(ours), pinOf(standby)])
  assert.equal(pins(ahead), [pinOf(ours), pinOf(standby), pinOf(next)])
  assert.equal(pins(own.env), [pinOf(own.key), pinOf(ours)])
  assert.equal(pins({ ...own.env, ...ahead }), [pinOf(own.key), pinOf(next), pinOf(ours)])
  assert.equal(pins({ ROLLCALL_TLS_CERT: await certificateOf(ours), ROLLCALL_TLS_KEY: ours }), [pinOf(ours)])
})

test('are what `rollcall pin` prints and what the server shows', async () => {
  const database = await testDatabase()
  const files = { ROLLCALL_TLS_CERT: join(folder, 'c.pem'), ROLLCALL_TLS_KEY: join(folder, 'k.pem') }
  writeFileSync(files.ROLLCALL_TLS_CERT, own.certificate)
  writeFileSync(files.ROLLCALL_TLS_KEY, own.key, { mode: 0o600 })
  const env = { DATABASE_URL: database.url, ...files }
  const here = ['--data-dir', join(folder, 'data')]
  const server = await serving(here, { env })
  try {
    const [first] = (await rollcall(['pin', ...here], { env })).out.split(';')
    assert.is(first, (await ask(`${server.https}/healthz`)).pin)
    assert.is(first, pinOf(own.key))
    assert.match(server.err(), /not a key that this installation made/)
  } finally {
    await server.stop()
    await database.close()
  }
})
