import * as assert from 'uvu/assert'
import type { PublicJwk } from '../../src/identity/jwk.ts'
import { importKey, KeyCache } from '../../src/identity/key-cache.ts'
import { suite } from '../suite.ts'
import { jwkOf, newKey } from './device-key.ts'
import { published } from './spelling.ts'

const test = suite('imported keys')

const offCurve = { ...published.ec, y: published.ec.x } as PublicJwk

test('a point off its curve is no key, and takes no room', () => {
  const cache = new KeyCache()
  assert.is(importKey(offCurve), undefined)
  assert.is(cache.get(offCurve), undefined)
  assert.is(cache.size, 0)
})

test('a key is imported once, however its members are ordered', () => {
  const cache = new KeyCache()
  const { kty, crv, x, y } = published.ec
  const key = cache.get({ y, kty, x, crv })
  assert.is(cache.get({ crv, kty, x, y }), key)
  assert.is(cache.size, 1)
  assert.equal(key?.export({ format: 'jwk' }), { kty, crv, x, y })
})

test('the key that was not asked for the longest makes room', async () => {
  const cache = new KeyCache(2)
  const [a, b, c] = (await Promise.all([newKey('EdDSA'), newKey('EdDSA'), newKey('EdDSA')])).map(jwkOf) as [
    PublicJwk,
    PublicJwk,
    PublicJwk,
  ]
  const first = cache.get(a)
  cache.get(b)
  assert.is(cache.get(a), first)
  cache.get(c)
  assert.is(cache.size, 2)
  assert.is(cache.get(a), first)
})
