import * as assert from 'uvu/assert'
import { importKey } from '../../src/identity/import-key.ts'
import type { PublicJwk } from '../../src/identity/jwk.ts'
import { suite } from '../suite.ts'
import { published } from './spelling.ts'

const test = suite('an imported key')

test('a point off its curve is none', () => {
  assert.is(importKey({ ...published.ec, y: published.ec.x } as PublicJwk), undefined)
})

test('is the one of its JWK, however that one is ordered', () => {
  const { kty, crv, x, y } = published.ec
  assert.equal(importKey({ y, kty, x, crv })?.export({ format: 'jwk' }), { kty, crv, x, y })
})
