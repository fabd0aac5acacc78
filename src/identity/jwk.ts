import { hash } from 'node:crypto'
import { decodeBase64url } from './base64url.ts'
import { isJsonObject, type JsonObject } from './json-object.ts'

/** A public key with the members that RFC 7638 hashes, in its order, and no others. */
export type PublicJwk =
  | { crv: 'P-256' | 'P-384'; kty: 'EC'; x: string; y: string }
  | { crv: 'Ed25519'; kty: 'OKP'; x: string }
  | { e: string; kty: 'RSA'; n: string }

/** Either the key, or why it is none: for an admin's eyes, and the log. */
export type JwkResult = { jwk: PublicJwk } | { reason: string }

/** Bits. Below is forgeable, above costs more CPU per claim than a device may ask for. */
export const rsaBits = { min: 2048, max: 8192 } as const

// RFC 7518 §6.2.2, §6.3.2, §6.4.1.
const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'] as const
const coordinate = { 'P-256': 32, 'P-384': 48 } as const

/**
 * Reads a JWK by its form alone, without arithmetic: whether an EC point is on its curve shows at import (key-cache.ts).
 * Each number has one spelling (RFC 7518 §6.2.1.2, §6.3.1.1), since otherwise one key had several thumbprints.
 * Metadata (`kid`, `use`, `alg` …) is dropped; a private member is refused.
 */
export function readPublicJwk(value: unknown): JwkResult {
  if (!isJsonObject(value)) return { reason: 'is not a JSON object' }
  const secret = PRIVATE.find((member) => Object.hasOwn(value, member))
  if (secret) return { reason: `holds the private member "${secret}": give the public key only` }
  if (value.kty === 'EC') return readEc(value)
  if (value.kty === 'OKP') return readOkp(value)
  if (value.kty === 'RSA') return readRsa(value)
  return { reason: '"kty" must be EC, OKP or RSA' }
}

/** RFC 7638 thumbprint: SHA-256, base64url, 43 characters. */
export function thumbprintOf(jwk: PublicJwk): string {
  return hash('sha256', JSON.stringify(required(jwk)), 'base64url')
}

// The last of 43 characters holds four bits of the 32nd byte and two that must not be set.
const thumbprint = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

/** Whether a text has the form of a thumbprint: 32 bytes in strict base64url. */
export function isThumbprint(text: string): boolean {
  return thumbprint.test(text)
}

// Postgres' jsonb does not keep the order of members, so a stored key is put in order again.
function required(jwk: PublicJwk): PublicJwk {
  if (jwk.kty === 'EC') return { crv: jwk.crv, kty: 'EC', x: jwk.x, y: jwk.y }
  if (jwk.kty === 'OKP') return { crv: jwk.crv, kty: 'OKP', x: jwk.x }
  return { e: jwk.e, kty: 'RSA', n: jwk.n }
}

function readEc({ crv, x, y }: JsonObject): JwkResult {
  if (crv !== 'P-256' && crv !== 'P-384') return { reason: '"crv" of an EC key must be P-256 or P-384' }
  const size = coordinate[crv]
  if (!hasSize(x, size) || !hasSize(y, size)) return { reason: `"x" and "y" must be ${size} bytes in base64url each` }
  return { jwk: { crv, kty: 'EC', x, y } }
}

function readOkp({ crv, x }: JsonObject): JwkResult {
  if (crv !== 'Ed25519') return { reason: '"crv" of an OKP key must be Ed25519' }
  if (!hasSize(x, 32)) return { reason: '"x" must be 32 bytes in base64url' }
  return { jwk: { crv, kty: 'OKP', x } }
}

function readRsa({ n, e }: JsonObject): JwkResult {
  const modulus = unsigned(n)
  const exponent = unsigned(e)
  if (!modulus || !exponent) return { reason: '"n" and "e" must be numbers in base64url without leading zero bytes' }
  const bits = modulus.length * 8 - (Math.clz32(modulus.readUInt8(0)) - 24)
  if (bits < rsaBits.min) return { reason: `an RSA key must have at least ${rsaBits.min} bits, this one has ${bits}` }
  if (bits > rsaBits.max) return { reason: `an RSA key must have at most ${rsaBits.max} bits, this one has ${bits}` }
  if (!isOdd(modulus)) return { reason: '"n" is even: not an RSA modulus' }
  if (!isUsualExponent(exponent)) return { reason: '"e" must be odd, from 65537 to 4294967295' }
  return { jwk: { e: e as string, kty: 'RSA', n: n as string } }
}

// A small exponent has a history of forgeries, a long one makes each check cost as much as a signature (FIPS 186-5 A.1.1).
function isUsualExponent(bytes: Buffer): boolean {
  return bytes.length <= 4 && bytes.readUIntBE(0, bytes.length) >= 65_537 && isOdd(bytes)
}

function hasSize(text: unknown, size: number): text is string {
  return typeof text === 'string' && decodeBase64url(text)?.length === size
}

function unsigned(text: unknown): Buffer | undefined {
  const bytes = typeof text === 'string' ? decodeBase64url(text) : undefined
  return bytes?.[0] ? bytes : undefined
}

function isOdd(bytes: Buffer): boolean {
  return (bytes.readUInt8(bytes.length - 1) & 1) === 1
}
