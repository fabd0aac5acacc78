import { z } from '@hono/zod-openapi'

/** A value that an admin may give a template: plain JSON. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json }

/** Names through which JavaScript reaches beyond plain data: no variable or label has one. */
export const reservedNames: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/**
 * An object as it came. Not z.record(), which leaves `__proto__` out without a word; nor z.json(): zod notes each object of a schema that can hold itself in
 * a WeakMap, which costs an import half its memory.
 */
const Members = z
  .custom<{ [key: string]: Json }>((value) => typeof value === 'object' && value !== null && !Array.isArray(value), {
    message: 'is not an object',
  })
  .openapi({ type: 'object', additionalProperties: true })

/** Variables for templates, of a profile or a device. */
export const Vars = Members.superRefine((value, context) => {
  const reason = unfit(value)
  if (reason) context.addIssue({ code: 'custom', message: reason })
})

function unfit(vars: Json): string | undefined {
  if (!isPlain(vars, 0)) return 'have reserved names or are nested more than 16 deep'
  return JSON.stringify(vars).length > 65_536 ? 'are longer than 65536 characters' : undefined
}

function isPlain(value: Json, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (depth >= 16) return false
  if (Array.isArray(value)) return value.every((item) => isPlain(item, depth + 1))
  return Object.entries(value).every(([name, item]) => !reservedNames.has(name) && isPlain(item, depth + 1))
}

export const assurances = ['network', 'bearer', 'key', 'hardware'] as const
export type Assurance = (typeof assurances)[number]

export const roles = ['server', 'agent'] as const
export type Role = (typeof roles)[number]

export const builtins = ['builtin:debian', 'builtin:rocky', 'builtin:fcos', 'builtin:flatcar'] as const
export type Builtin = (typeof builtins)[number]

// Said by hand for the OpenAPI document: its generator cannot follow the recursion of z.json().
const members = z.record(z.string(), z.json()).openapi({ type: 'object', additionalProperties: true })

const name = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'lower-case letters, digits and inner hyphens, at most 63')

/** How a kind of device is provisioned; one immutable revision of it. PROTOCOL.md, `/profiles`. */
export const ProfileSpec = z
  .strictObject({
    name,
    document: z.enum(['cloud-init', 'ignition']),
    role: z.enum(roles),
    template: z.union([z.enum(builtins), z.strictObject({ source: z.string().min(1).max(262_144) })]),
    vars: Vars.default({}),
    packages: z
      .array(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.+:_-]{0,127}$/))
      .max(200)
      .default([]),
    min_assurance: z.enum(assurances).default('key'),
    reenroll: z.enum(['never', 'approve', 'always']).default('approve'),
    join_ttl: z.int().min(300).max(86_400).default(3_600).describe('Seconds'),
    boot: members.optional(),
  })
  .openapi('Profile')

export type ProfileSpec = z.output<typeof ProfileSpec>
