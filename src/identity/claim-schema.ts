import { z } from 'zod'
import { isJsonObject, type JsonObject } from './json-object.ts'
import { readPublicJwk } from './jwk.ts'

const SERIAL = /^[A-Za-z0-9._:/+&#-]+(?: [A-Za-z0-9._:/+&#-]+)*$/
const count = z.int().min(0)
// SMBIOS text goes into the timeline; Postgres stores neither U+0000 nor half a surrogate pair.
const hint = z
  .string()
  .max(256)
  .regex(/^[^\0\p{Cs}]*$/u)
const object = z.custom<JsonObject>(isJsonObject, 'not an object')

// PROTOCOL.md, "Names". What has another form can be on no roll, so refusing it tells nobody anything.
const serial = z
  .string()
  .max(64)
  .regex(SERIAL)
  .regex(/[A-Za-z0-9]/)

/** Text that can carry 128 bits: hexadecimal (a UUID too) counts 4 bits a digit, anything else 6 a character. */
const jti = z
  .string()
  .max(256)
  .regex(/^[\x21-\x7e]*$/)
  .refine((text) => bitsIn(text) >= 128, 'fewer than 128 bits')

/** `aud` is one string, though RFC 7519 knows lists; whose nonce and audience they are is checked after the form. */
const addressed = { aud: z.string(), eat_nonce: z.string(), jti }

/** Payload of `ztp-claim+jwt`. Unknown members are dropped. */
export const ClaimPayload = z.object({
  sub: serial,
  ...addressed,
  /** Unix seconds of the device's clock; a diagnostic, it decides nothing */
  iat: z.number().min(Number.MIN_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER).optional(),
  /** Seconds, as /proc/uptime has them */
  uptime: z.number().min(0).optional(),
  bootcount: count.optional(),
  /** What SMBIOS says; never proof */
  hw: z
    .object({
      vendor: hint.optional(),
      product: hint.optional(),
      serial: hint.optional(),
      uuid: hint.optional(),
      macs: z.array(hint).max(64).optional(),
    })
    .optional(),
  tpm: object.optional(),
  /** A new key to be bound */
  cnf: object
    .refine((cnf) => !Object.hasOwn(cnf, 'jwk') || 'jwk' in readPublicJwk(cnf.jwk), 'no public key')
    .optional(),
})
export type ClaimPayload = z.output<typeof ClaimPayload>

/** Payload of `ztp-join+jwt`. A `sub` or `ath` that is missing or no string is read as empty: a wrong one is `bad_signature`, as PROTOCOL.md has it. */
export const JoinPayload = z.object({
  sub: z.string().catch(''),
  ...addressed,
  /** base64url SHA-256 of the join token */
  ath: z.string().catch(''),
})
export type JoinPayload = z.output<typeof JoinPayload>

function bitsIn(text: string): number {
  const hex = /^[0-9a-f-]*$/i.test(text)
  return hex ? text.replaceAll('-', '').length * 4 : text.length * 6
}
