import { hash } from 'node:crypto'
import type { z } from 'zod'
import { AppError } from '../errors.ts'
import { ClaimPayload, JoinPayload } from './claim-schema.ts'
import { checkHeader, type Header, type KeySource, type Typ } from './header.ts'
import { parseCompactJws } from './jws.ts'

/** A JWS of a device in good form. Nothing in it is proved before its signature is checked (verify.ts). */
export type Signed<Payload> = {
  header: Header
  keySource: KeySource
  payload: Payload
  signingInput: Uint8Array
  signature: Uint8Array
  /** SHA-256 of the JWS as it came: names its byte-identical retry */
  hash: Buffer
}

export type Claim = Signed<ClaimPayload>
export type JoinProof = Signed<JoinPayload>

/**
 * Reads a claim without any key, clock or query: size, form, header, device times, schema (PROTOCOL.md, "Claim"; first
 * failure wins).
 * @param raw the body as it came; of a longer one, the first 32 KiB and one byte are enough
 * @throws AppError `claim_too_large`, `claim_malformed`, `header_invalid`, `alg_not_allowed`, `header_key_source`,
 *   `device_time_claim`, `claim_schema`; none has a detail, since nothing is proved yet
 */
export function parseClaim(raw: Uint8Array): Claim {
  return parseSigned(raw, 'ztp-claim+jwt', ClaimPayload)
}

/**
 * Reads the proof of key that comes with a redeem, by the same rules.
 * @throws AppError as parseClaim does
 */
export function parseJoinProof(raw: Uint8Array): JoinProof {
  return parseSigned(raw, 'ztp-join+jwt', JoinPayload)
}

function parseSigned<P>(raw: Uint8Array, typ: Typ, schema: z.ZodType<P>): Signed<P> {
  const jws = parseCompactJws(raw)
  const { header, keySource } = checkHeader(jws.header, typ)
  if (Object.hasOwn(jws.payload, 'exp') || Object.hasOwn(jws.payload, 'nbf')) throw new AppError('device_time_claim')
  const payload = schema.safeParse(jws.payload)
  // Paths and reasons only: a claim is never logged.
  if (!payload.success) throw new AppError('claim_schema', { cause: payload.error.issues.map(told).join('; ') })
  const { signingInput, signature } = jws
  return { header, keySource, payload: payload.data, signingInput, signature, hash: hash('sha256', raw, 'buffer') }
}

function told(issue: z.core.$ZodIssue): string {
  return `${issue.path.join('.')}: ${issue.code}`
}
