import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import type { PublicJwk } from '../../src/identity/jwk.ts'
import { thumbprintOf } from '../../src/identity/jwk.ts'
import { publicJwkOf } from './public-jwk.ts'

const b64u = (data: Uint8Array | string) => Buffer.from(data).toString('base64url')

/** A device with its own P-256 key, signing as client.sh does. */
export class FakeDevice {
  readonly serial: string
  readonly jwk: PublicJwk
  readonly thumbprint: string
  readonly #key: KeyObject

  constructor(serial: string) {
    this.serial = serial
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const { x, y } = publicJwkOf(publicKey) as { x: string; y: string }
    this.#key = privateKey
    this.jwk = { crv: 'P-256', kty: 'EC', x, y }
    this.thumbprint = thumbprintOf(this.jwk)
  }

  /** A claim; `change` overrides payload members, `header` the whole header. */
  claim(nonce: string, change: Record<string, unknown> = {}, header: Record<string, unknown> = {}): string {
    const payload = {
      sub: this.serial,
      aud: 'https://rollcall.test',
      eat_nonce: nonce,
      jti: randomBytes(16).toString('hex'),
    }
    return this.sign({ alg: 'ES256', typ: 'ztp-claim+jwt', kid: this.thumbprint, ...header }, { ...payload, ...change })
  }

  /** The proof that goes with a join ticket. */
  joinProof(nonce: string, ticket: string, change: Record<string, unknown> = {}): string {
    const ath = createHash('sha256').update(ticket).digest('base64url')
    const payload = {
      sub: this.serial,
      aud: 'https://rollcall.test',
      eat_nonce: nonce,
      jti: randomBytes(16).toString('hex'),
      ath,
    }
    return this.sign({ alg: 'ES256', typ: 'ztp-join+jwt', kid: this.thumbprint }, { ...payload, ...change })
  }

  sign(header: Record<string, unknown>, payload: Record<string, unknown>): string {
    const input = `${b64u(JSON.stringify(header))}.${b64u(JSON.stringify(payload))}`
    return `${input}.${b64u(sign('sha256', Buffer.from(input), { key: this.#key, dsaEncoding: 'ieee-p1363' }))}`
  }
}
