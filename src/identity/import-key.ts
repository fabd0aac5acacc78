import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import type { PublicJwk } from './jwk.ts'

/**
 * Makes a key out of its JWK. Costs tens of µs, so it comes after the nonce.
 * @returns undefined if it is no key after all, e.g. a point off its curve: such a claim has no true signature
 */
export function importKey(jwk: PublicJwk): KeyObject | undefined {
  try {
    return createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
  } catch {
    return undefined
  }
}
