import { z } from '@hono/zod-openapi'

/**
 * RFC 7396: objects are merged member by member, `null` removes a member, anything else replaces.
 * @returns a new value; `__proto__` is a name like any other
 */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch
  const merged = new Map(isObject(target) ? Object.entries(target) : [])
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key)
    else merged.set(key, mergePatch(merged.get(key), value))
  }
  return Object.fromEntries(merged)
}

/** The schema of a merge patch: every member optional and nullable, no defaults, since what is not given stays. */
export function patchOf<Shape extends z.ZodRawShape>(shape: Shape) {
  const members = Object.entries(shape).map(([key, member]) => [
    key,
    bare(member as z.ZodType)
      .nullable()
      .optional(),
  ])
  return z.strictObject(Object.fromEntries(members)) as z.ZodType<{ [K in keyof Shape]?: unknown }>
}

function bare(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodOptional) return bare(schema.unwrap() as z.ZodType)
  return schema
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
