import { decodeBase64url } from './base64url.ts'
import type { PublicJwk } from './jwk.ts'

// SEC 2 (FIPS 186-5): y² = x³ - 3x + b over p. Both curves have prime order, so a point on one is a key without small subgroups.
const curves = {
  'P-256': {
    size: 32,
    p: 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
    // RFC 5480: SubjectPublicKeyInfo of the named curve, up to and with the mark of an uncompressed point.
    head: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex'),
  },
  'P-384': {
    size: 48,
    p: 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffffn,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
    head: Buffer.from('3076301006072a8648ce3d020106052b8104002203620004', 'hex'),
  },
} as const

type EcJwk = Extract<PublicJwk, { kty: 'EC' }>

/**
 * Whether an EC key's coordinates are a point on its curve: the check that OpenSSL makes at import, at a tenth of its cost, for
 * imports of many keys.
 */
export function isOnCurve({ crv, x, y }: EcJwk): boolean {
  const { p, b } = curves[crv]
  const [xn, yn] = [numberOf(x), numberOf(y)]
  if (xn >= p || yn >= p) return false
  return (yn * yn - (xn * xn - 3n) * xn - b) % p === 0n
}

/** The key in a SubjectPublicKeyInfo in DER, whether or not it is on its curve; undefined if it is none of P-256 or P-384, uncompressed. */
export function readEcSpki(der: Uint8Array): EcJwk | undefined {
  for (const crv of ['P-256', 'P-384'] as const) {
    const { head, size } = curves[crv]
    if (der.length !== head.length + 2 * size || !head.equals(der.subarray(0, head.length))) continue
    const part = (from: number) => Buffer.from(der.subarray(from, from + size)).toString('base64url')
    return { crv, kty: 'EC', x: part(head.length), y: part(head.length + size) }
  }
  return undefined
}

const numberOf = (text: string) => BigInt(`0x${decodeBase64url(text)?.toString('hex') || '0'}`)
