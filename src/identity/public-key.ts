import { createPublicKey, type KeyObject } from 'node:crypto'
import { AppError } from '../errors.ts'
import { isOnCurve, readEcSpki } from './ec-point.ts'
import { isOnEd25519 } from './ed25519-point.ts'
import { importKey } from './import-key.ts'
import { isThumbprint, type JwkResult, type PublicJwk, readPublicJwk, thumbprintOf } from './jwk.ts'

/** What an admin pins to a device: exactly one of the three members. PROTOCOL.md, `identity`. */
export type IdentityInput = { kind: 'key'; jwk?: unknown; pem?: unknown; thumbprint?: unknown }

/** `jwk` is null where only the thumbprint is pinned: claims then carry the key themselves. */
export type PinnedKey = { thumbprint: string; jwk: PublicJwk | null }

const forms = ['jwk', 'pem', 'thumbprint'] as const
type Form = (typeof forms)[number]

/**
 * What to keep of the key that an admin gives. Checked wholly, once: a mistyped key would lock its device out at a site.
 * @throws AppError `invalid`, with the member's path and a reason that says what to do
 */
export function identityFromInput(input: IdentityInput): PinnedKey {
  const given = forms.filter((form) => input[form] !== undefined)
  const [form] = given
  if (given.length !== 1 || !form) throw invalid('identity', 'give exactly one of jwk, pem and thumbprint')
  return readers[form](input[form])
}

const readers: Record<Form, (value: unknown) => PinnedKey> = {
  jwk: (value) => pin('jwk', readPublicJwk(value)),
  pem: (value) => pin('pem', readPem(value)),
  thumbprint(value) {
    if (typeof value === 'string' && isThumbprint(value)) return { thumbprint: value, jwk: null }
    throw invalid('identity.thumbprint', 'is not an RFC 7638 thumbprint: SHA-256 in base64url, 43 characters')
  },
}

function pin(form: Form, result: JwkResult): PinnedKey {
  if ('reason' in result) throw invalid(`identity.${form}`, result.reason)
  if (!isPoint(result.jwk)) throw invalid(`identity.${form}`, 'is not a point on its curve: mistyped or damaged')
  return { thumbprint: thumbprintOf(result.jwk), jwk: result.jwk }
}

// OpenSSL looks at an Ed25519 point only when it verifies, and takes ten times as long for one of an EC curve.
function isPoint(jwk: PublicJwk): boolean {
  if (jwk.kty === 'EC') return isOnCurve(jwk)
  return jwk.kty === 'OKP' ? isOnEd25519(Buffer.from(jwk.x, 'base64url')) : importKey(jwk) !== undefined
}

const BLOCK = /^\s*-----BEGIN ([A-Z0-9 ]{1,64})-----([A-Za-z0-9+/=\s]+)-----END \1-----\s*$/
const MAX_PEM = 16_384

function readPem(pem: unknown): JwkResult {
  if (typeof pem !== 'string') return { reason: 'is not a text' }
  const [, label, body = ''] = (pem.length <= MAX_PEM && BLOCK.exec(pem)) || []
  // Looked for anywhere: a file that holds both halves must not get away with a reason about its form.
  if (/PRIVATE KEY-----/.test(pem)) return { reason: `holds a private key: it belongs on the device alone. ${HOW}` }
  if (label === 'PUBLIC KEY') return readEcPem(body) ?? readSpki(pem)
  if (label === undefined) return { reason: `is not one PEM block. ${HOW}` }
  return { reason: `is a ${label}, not a PUBLIC KEY. ${hints[label] ?? HOW}` }
}

const HOW = 'A public key is made by: openssl pkey -in key.pem -pubout'
const hints: Record<string, string> = {
  CERTIFICATE: 'Its public key is printed by: openssl x509 -in cert.pem -noout -pubkey',
  'RSA PUBLIC KEY': 'Convert it: openssl rsa -RSAPublicKey_in -in key.pem -pubout',
}

// The usual key of a device, without OpenSSL's decoder; whatever is spelled in another way goes there.
function readEcPem(body: string): JwkResult | undefined {
  const text = body.replace(/\s/g, '')
  const der = Buffer.from(text, 'base64')
  const jwk = der.toString('base64') === text ? readEcSpki(der) : undefined
  return jwk && { jwk }
}

function readSpki(pem: string): JwkResult {
  try {
    return readPublicJwk(jwkOf(createPublicKey({ key: pem, format: 'pem' })))
  } catch {
    return { reason: 'is no key of a kind in use here: P-256, P-384, Ed25519 or RSA' }
  }
}

function jwkOf(key: KeyObject): unknown {
  return key.export({ format: 'jwk' })
}

function invalid(path: string, reason: string): AppError {
  return new AppError('invalid', { detail: `${path}: ${reason}`, errors: [{ path, reason }] })
}
