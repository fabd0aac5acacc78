import { createPublicKey, type KeyObject } from 'node:crypto'

/**
 * The public half of a new key pair as JWK. By way of DER: Node 20 hangs for ever, once in some thousand times, where it writes a JWK of a key that it
 * made itself while its twin is collected as garbage.
 */
export function publicJwkOf(publicKey: KeyObject): Record<string, string> {
  const key = publicKey.export({ format: 'der', type: 'spki' })
  return createPublicKey({ key, format: 'der', type: 'spki' }).export({ format: 'jwk' }) as Record<string, string>
}
