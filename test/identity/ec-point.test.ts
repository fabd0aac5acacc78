import { createPublicKey, generateKeyPairSync, type JsonWebKey } from 'node:crypto'
import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { isOnCurve, readEcSpki } from '../../src/identity/ec-point.ts'
import { suite } from '../suite.ts'
import { b64u } from './spelling.ts'

const test = suite('a point of an EC key')

type Jwk = { crv: 'P-256' | 'P-384'; kty: 'EC'; x: string; y: string }
const sizes = { 'P-256': 32, 'P-384': 48 } as const
const openSsl = (jwk: Jwk) => {
  try {
    return createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
  } catch {
    return undefined
  }
}
const newKey = (namedCurve: Jwk['crv']) => {
  const der = generateKeyPairSync('ec', { namedCurve }).publicKey.export({ type: 'spki', format: 'der' })
  return { der, jwk: readEcSpki(der) as Jwk }
}
const curve = fc.constantFrom<Jwk['crv']>('P-256', 'P-384')

test('is refused off its curve, at zero, and where a coordinate is not below the field’s prime', () => {
  for (const crv of ['P-256', 'P-384'] as const) {
    const size = sizes[crv]
    const zero = b64u(Buffer.alloc(size))
    const most = b64u(Buffer.alloc(size, 0xff))
    const { x, y } = newKey(crv).jwk
    for (const point of [
      { x: zero, y: zero },
      { x, y: zero },
      { x: y, y: x },
      { x: most, y: most },
      { x, y: most },
    ]) {
      assert.is(isOnCurve({ crv, kty: 'EC', ...point }), false)
    }
  }
})

test('is not taken twice: the same number, one prime higher, is no second spelling of a key', () => {
  // x = 5 of P-256 has a point, and 5 + p still fits into 32 bytes.
  const p = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn
  const y = '459243b9aa581806fe913bce99817ade11ca503c64d9a3c533415c083248fbcc'
  const spelled = (x: bigint): Jwk => ({
    crv: 'P-256',
    kty: 'EC',
    x: b64u(Buffer.from(x.toString(16).padStart(64, '0'), 'hex')),
    y: b64u(Buffer.from(y, 'hex')),
  })
  assert.is(isOnCurve(spelled(5n)), openSsl(spelled(5n)) !== undefined)
  assert.is(isOnCurve(spelled(5n)), true)
  assert.is(isOnCurve(spelled(5n + p)), false)
})

test('is judged as OpenSSL judges it, for true keys, damaged ones and any bytes', () => {
  const bytes = fc.uint8Array({ minLength: 96, maxLength: 96 })
  fc.assert(
    fc.property(curve, fc.constantFrom('true', 'damaged', 'any'), bytes, fc.nat(), (crv, kind, any, bit) => {
      const size = sizes[crv]
      const point =
        kind === 'any' ? Buffer.from(any.subarray(0, 2 * size)) : Buffer.from(newKey(crv).der.subarray(-2 * size))
      const at = bit % (16 * size)
      if (kind === 'damaged') point[at >> 3] = (point[at >> 3] as number) ^ (1 << (at & 7))
      const jwk: Jwk = { crv, kty: 'EC', x: b64u(point.subarray(0, size)), y: b64u(point.subarray(size)) }
      assert.is(isOnCurve(jwk), openSsl(jwk) !== undefined)
      assert.is(isOnCurve(jwk), kind === 'true')
    }),
    { numRuns: 300 },
  )
})

test('is read from DER as OpenSSL reads it, and from nothing that only begins or ends like it', () => {
  for (const crv of ['P-256', 'P-384'] as const) {
    const { der, jwk } = newKey(crv)
    const { kty, x, y } = createPublicKey({ key: der, type: 'spki', format: 'der' }).export({ format: 'jwk' })
    assert.equal(jwk, { crv, kty, x, y } as Jwk)
    for (const other of [
      der.subarray(1),
      der.subarray(0, -1),
      Buffer.concat([der, Buffer.alloc(1)]),
      Buffer.alloc(0),
    ]) {
      assert.is(readEcSpki(other), undefined)
    }
  }
})
