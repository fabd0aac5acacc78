import { z } from '@hono/zod-openapi'
import { assurances, type Json, Vars as PlainVars, reservedNames, roles } from '../documents/profile.ts'
import { hostnamePattern } from './hostname.ts'
import { whyNot } from './serial.ts'
import { isLine, isText } from './text.ts'

const resourceName = z.string().regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'is not a name')

const serial = z
  .string()
  .min(1)
  .max(256)
  .superRefine((text, context) => {
    const reason = whyNot(text.trim())
    if (reason) context.addIssue({ code: 'custom', message: reason })
  })
  .openapi({ description: 'Shown as entered, matched in any case', example: 'SN-0001' })

const hostname = z.string().regex(hostnamePattern, 'is not a DNS label in lower case')

const sources = ['jwk', 'pem', 'thumbprint'] as const

/** The key that the device's claims are checked against; its cryptographic side is checked by `identity/public-key.ts`. */
export const IdentityInput = z
  .strictObject({
    kind: z.literal('key'),
    jwk: z.record(z.string(), z.unknown()).optional().describe('Public key; claims name it by `kid`'),
    pem: z.string().max(16_384).optional().describe('Public key; claims name it by `kid`'),
    thumbprint: z.string().max(128).optional().describe('RFC 7638; claims carry the `jwk` itself'),
  })
  .refine((value) => sources.filter((source) => value[source] !== undefined).length === 1, {
    message: 'needs exactly one of jwk, pem, thumbprint',
  })
  .openapi('IdentityInput')
export type IdentityInput = z.output<typeof IdentityInput>

const labelName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/, 'is not a label')
  .refine((name) => !reservedNames.has(name), 'is a reserved name')
const labelText = z.string().max(256).refine(isLine, 'holds control characters')

// z.record() leaves __proto__ out without a word.
const isOpen = (value: unknown) => typeof value !== 'object' || value === null || !Object.hasOwn(value, '__proto__')
const labelsOf = <T extends z.ZodType>(text: T, type: 'string' | ['string', 'null'] = 'string') =>
  z
    .custom<object>(isOpen, '__proto__ is a reserved name')
    .pipe(z.record(labelName, text))
    .openapi({ type: 'object', additionalProperties: { type, maxLength: 256 } })

export const Labels = labelsOf(labelText).refine((value) => Object.keys(value).length <= 64, 'has more than 64 labels')

// Said by hand for the OpenAPI document: its generator cannot follow the recursion of z.json().
export const anyMembers = { type: 'object' as const, additionalProperties: true }

export const Vars = PlainVars.refine(isTold, 'hold control characters')

const macs = z.array(z.string().regex(/^[0-9A-Fa-f]{2}(?:[:-]?[0-9A-Fa-f]{2}){5}$/, 'is not a MAC address')).max(32)
const uuid = z.string().regex(/^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$/, 'is not a UUID')
const note = z.string().max(2_000).refine(isText, 'holds control characters')

const fields = {
  profile: resourceName,
  cluster: resourceName,
  role: z.enum(roles).describe('Default: the profile’s'),
  hostname: hostname.describe('Default: made from the serial'),
  identity: IdentityInput,
  min_assurance: z.enum(assurances).describe('Default: the profile’s; below it needs scope admin'),
  labels: Labels,
  vars: Vars,
  macs: macs.describe('Hints, never proof'),
  uuid: uuid.describe('System UUID: a hint, never proof'),
  note,
}

/** What an admin says of a new device. PROTOCOL.md, `/devices`. */
export const DeviceInput = z
  .strictObject(fields)
  .partial()
  .required({ profile: true })
  .extend({ serial })
  .openapi('DeviceInput')
export type DeviceInput = z.output<typeof DeviceInput>

/** What an admin changes: a merge patch (RFC 7396), so `null` removes a label or variable, or takes a member back to its default. */
export const DevicePatch = z
  .strictObject({
    ...fields,
    cluster: fields.cluster.nullable(),
    role: fields.role.nullable(),
    hostname: fields.hostname.nullable(),
    identity: fields.identity.nullable(),
    min_assurance: fields.min_assurance.nullable(),
    uuid: fields.uuid.nullable(),
    labels: labelsOf(labelText.nullable(), ['string', 'null']),
    vars: PlainVars,
  })
  .partial()
  .openapi('DevicePatch')
export type DevicePatch = z.output<typeof DevicePatch>

/** One record of an import: a serial, and what is given of the rest; a serial that is new also needs a profile. */
export const ImportInput = z.strictObject(fields).partial().extend({ serial })
export type ImportInput = z.output<typeof ImportInput>

/** `00-1A-…` and `001a…` as `00:1a:…`. */
export function normaliseMac(mac: string): string {
  if (/^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/.test(mac)) return mac
  return (mac.toLowerCase().match(/[0-9a-f]{2}/g) ?? []).join(':')
}

/** Whether all its texts are such as Postgres and YAML can hold. */
function isTold(value: Json): boolean {
  if (typeof value === 'string') return isText(value)
  if (typeof value !== 'object' || value === null) return true
  if (Array.isArray(value)) return value.every(isTold)
  return Object.entries(value).every(([key, item]) => isLine(key) && isTold(item))
}
