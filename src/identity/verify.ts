import { constants, type KeyObject, type SignKeyObjectInput, verify } from 'node:crypto'
import { type Algorithm, type KeyKind, keyKindOf } from './algorithm.ts'
import { importKey } from './import-key.ts'
import type { PublicJwk } from './jwk.ts'

type Method = { hash: 'sha256' | 'sha384' | null; options: Omit<SignKeyObjectInput, 'key'> }

// RFC 7518 §3.3–3.5, RFC 8037 §3.1. The salt of PS256 is as long as its hash.
const ecdsa = { dsaEncoding: 'ieee-p1363' } as const
const ed25519: Method = { hash: null, options: {} }
const methods: Record<Algorithm, Method> = {
  ES256: { hash: 'sha256', options: ecdsa },
  ES384: { hash: 'sha384', options: ecdsa },
  EdDSA: ed25519,
  Ed25519: ed25519,
  RS256: { hash: 'sha256', options: { padding: constants.RSA_PKCS1_PADDING } },
  PS256: {
    hash: 'sha256',
    options: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST },
  },
}

/**
 * Whether a signature is true, worked out on libuv's pool. Never rejects: a key that does not fit the algorithm and a
 * signature of another length are false, as is whatever OpenSSL will not take.
 */
export function verifySignature(
  alg: Algorithm,
  key: KeyObject,
  signingInput: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (!fits(alg, key, signature)) return Promise.resolve(false)
  const { hash, options } = methods[alg]
  return new Promise((resolve) => {
    try {
      verify(hash, signingInput, { key, ...options }, signature, (error, valid) => resolve(!error && valid))
    } catch {
      resolve(false)
    }
  })
}

/** A signature and the key that it should be made with. */
export type SignatureCheck = { alg: Algorithm; jwk: PublicJwk; signingInput: Uint8Array; signature: Uint8Array }

/** As `verifySignature`, but where it is asked: for a thread that has nothing else to do. */
export function verifyHere({ alg, jwk, signingInput, signature }: SignatureCheck): boolean {
  const key = importKey(jwk)
  if (!key || !fits(alg, key, signature)) return false
  const { hash, options } = methods[alg]
  try {
    return verify(hash, signingInput, { key, ...options }, signature)
  } catch {
    return false
  }
}

function fits(alg: Algorithm, key: KeyObject, signature: Uint8Array): boolean {
  return kindOf(key) === keyKindOf(alg) && signature.length === signatureLength(key)
}

function kindOf(key: KeyObject): KeyKind | undefined {
  if (key.type !== 'public') return undefined
  if (key.asymmetricKeyType === 'rsa') return 'RSA'
  if (key.asymmetricKeyType === 'ed25519') return 'Ed25519'
  if (key.asymmetricKeyType !== 'ec') return undefined
  return curves[key.asymmetricKeyDetails?.namedCurve ?? '']
}

const curves: Record<string, KeyKind> = { prime256v1: 'P-256', secp384r1: 'P-384' }

function signatureLength(key: KeyObject): number {
  const kind = kindOf(key)
  if (kind === 'RSA') return Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8)
  return kind === 'P-384' ? 96 : 64
}
