import { generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { CompactSign } from 'jose'
import type { Algorithm } from '../../src/identity/algorithm.ts'
import type { PublicJwk } from '../../src/identity/jwk.ts'
import { publicJwkOf } from '../fakes/public-jwk.ts'

const generate = promisify(generateKeyPair) as (kind: string, options: object) => Promise<DeviceKey>

export type DeviceKey = { publicKey: KeyObject; privateKey: KeyObject }

const kinds: Record<Algorithm, [kind: string, options: object]> = {
  ES256: ['ec', { namedCurve: 'P-256' }],
  ES384: ['ec', { namedCurve: 'P-384' }],
  EdDSA: ['ed25519', {}],
  Ed25519: ['ed25519', {}],
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
}

/** A key as a device would make one for an algorithm. */
export function newKey(alg: Algorithm): Promise<DeviceKey> {
  return generate(...kinds[alg])
}

export function jwkOf(key: DeviceKey): PublicJwk {
  return publicJwkOf(key.publicKey) as PublicJwk
}

/** A claim as an honest device signs it, with its key inside; `more` goes into the header. */
export async function signed(alg: Algorithm, key: DeviceKey, payload: unknown, more: object = {}): Promise<Buffer> {
  const header = { alg, typ: 'ztp-claim+jwt', jwk: jwkOf(key), ...more }
  const jws = new CompactSign(Buffer.from(JSON.stringify(payload))).setProtectedHeader(header)
  return Buffer.from(await jws.sign(key.privateKey))
}
