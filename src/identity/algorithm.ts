/** What a device may sign with. `EdDSA` and `Ed25519` are one algorithm under its old and its new name (RFC 8037, RFC 9864). */
export const algorithms = ['ES256', 'ES384', 'EdDSA', 'Ed25519', 'RS256', 'PS256'] as const
export type Algorithm = (typeof algorithms)[number]

/** The kinds of keys that identities may have. */
export type KeyKind = 'P-256' | 'P-384' | 'Ed25519' | 'RSA'

const kinds: Record<Algorithm, KeyKind> = {
  ES256: 'P-256',
  ES384: 'P-384',
  EdDSA: 'Ed25519',
  Ed25519: 'Ed25519',
  RS256: 'RSA',
  PS256: 'RSA',
}

/** The one kind of key that an algorithm works with. */
export function keyKindOf(alg: Algorithm): KeyKind {
  return kinds[alg]
}

export function isAlgorithm(value: unknown): value is Algorithm {
  return (algorithms as readonly unknown[]).includes(value)
}
