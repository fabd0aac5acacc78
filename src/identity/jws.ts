import { AppError } from '../errors.ts'
import { decodeBase64url } from './base64url.ts'
import { type JsonObject, parseJsonObject } from './json-object.ts'

/** Bytes of the whole JWS; only a certificate chain needs more than `plain`. */
export const sizeLimit = { plain: 16_384, x5c: 32_768 } as const

const DOT = 0x2e

/** One compact JWS in its parts; nothing in it is trusted yet. */
export type CompactJws = {
  header: JsonObject
  payload: JsonObject
  /** What was signed: the first two parts with the dot, as they came. */
  signingInput: Uint8Array
  signature: Uint8Array
}

/**
 * Splits one compact JWS (RFC 7515 §7.1), strictly: three base64url parts, header and payload JSON objects.
 * @param raw the body as it came
 * @throws AppError `claim_too_large`, `claim_malformed`; no detail, since nothing is proved yet
 */
export function parseCompactJws(raw: Uint8Array): CompactJws {
  if (raw.length > sizeLimit.x5c) throw new AppError('claim_too_large', { cause: `more than ${sizeLimit.x5c} bytes` })
  const first = raw.indexOf(DOT)
  const header = first < 0 ? undefined : objectIn(raw.subarray(0, first))
  // Size comes before form (PROTOCOL.md, "Claim"): what is too long and shows no chain is too large, whatever it is.
  if (raw.length > sizeLimit.plain && !(header && Object.hasOwn(header, 'x5c')))
    throw new AppError('claim_too_large', { cause: `more than ${sizeLimit.plain} bytes without x5c` })
  if (!header) throw malformed('the header is no base64url of a JSON object')

  const second = raw.indexOf(DOT, first + 1)
  const payload = second < 0 ? undefined : objectIn(raw.subarray(first + 1, second))
  if (!payload) throw malformed('the payload is no base64url of a JSON object')
  const signature = decodeBase64url(latin1(raw.subarray(second + 1)))
  if (!signature) throw malformed('the signature is no base64url')
  // Only an unsecured JWS has an empty one (RFC 7518 §3.6), and its `alg` is refused by name.
  if (signature.length === 0 && header.alg !== 'none') throw malformed('the signature is empty')
  return { header, payload, signingInput: raw.subarray(0, second), signature }
}

function objectIn(part: Uint8Array): JsonObject | undefined {
  const bytes = decodeBase64url(latin1(part))
  return bytes && parseJsonObject(bytes)
}

// One character a byte: a byte above 0x7f becomes one that base64url does not have.
function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

function malformed(cause: string): AppError {
  return new AppError('claim_malformed', { cause })
}
