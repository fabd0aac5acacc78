import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { checkNonce, issueNonce, lifetime } from '../../src/identity/nonce.ts'
import { suite } from '../suite.ts'

const key = new Uint8Array(32).fill(7)
const random = new Uint8Array(16).fill(9)
const t0 = 1_795_396_247
const nonce = issueNonce(key, t0, random)
const refusal = (code: string) => (e: { code?: string }) => e.code === code

const test = suite('nonce')

test('refuses what another server made', () => {
  const other = issueNonce(new Uint8Array(32), t0, random)
  assert.throws(() => checkNonce(key, t0, other), refusal('nonce_invalid'))
})

test('refuses any single changed bit', () => {
  const changed = (bit: number) => {
    const bytes = Buffer.from(nonce, 'base64url')
    bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    return bytes.toString('base64url')
  }
  for (let bit = 0; bit < 288; bit++) assert.throws(() => checkNonce(key, t0, changed(bit)), refusal('nonce_invalid'))
})

test('refuses anything else, without ever failing otherwise', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), (text) => {
      assert.throws(() => checkNonce(key, t0, text), refusal('nonce_invalid'))
    }),
  )
})

test('is fresh for 300 s, serves retries until 420 s, then expires', () => {
  assert.is(checkNonce(key, t0 + lifetime.fresh, nonce), 'fresh')
  assert.is(checkNonce(key, t0 + lifetime.fresh + 1, nonce), 'stale')
  assert.is(checkNonce(key, t0 + lifetime.retry, nonce), 'stale')
  assert.throws(() => checkNonce(key, t0 + lifetime.retry + 1, nonce), refusal('nonce_expired'))
})

test('allows a replica whose clock is 30 s behind, not more', () => {
  assert.is(checkNonce(key, t0 - 30, nonce), 'fresh')
  assert.throws(() => checkNonce(key, t0 - 31, nonce), refusal('nonce_invalid'))
})
