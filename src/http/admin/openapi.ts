import { type OpenAPIHono, z } from '@hono/zod-openapi'
import { type Code, codes } from '../../errors.ts'
import type { AdminEnv } from './frame.ts'

/** RFC 9457, as every refusal is written. */
export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string().optional(),
    instance: z.string(),
    code: z.string().describe('Stable; what a program should look at'),
    request_id: z.string(),
    errors: z.array(z.object({ path: z.string(), reason: z.string(), line: z.int().optional() })).optional(),
  })
  .openapi('Problem')

export type Traits = { unsafe: boolean; body: boolean; query: boolean; ifMatch: boolean }

/** The refusals of a route, by status: its own, and those that every route of its kind may give. */
export function errorResponses(own: readonly Code[], traits: Traits) {
  const all: Code[] = [
    'token_invalid',
    'forbidden',
    'internal',
    'busy',
    'shutting_down',
    'datastore_unavailable',
    ...own,
  ]
  if (traits.unsafe) all.push('body_too_large', 'idempotency_mismatch', 'invalid')
  if (traits.body) all.push('request_invalid', 'media_type')
  if (traits.query) all.push('invalid')
  if (traits.ifMatch) all.push('precondition_failed')
  const byStatus = new Map<number, Code[]>()
  for (const code of new Set(all)) byStatus.set(codes[code][0], [...(byStatus.get(codes[code][0]) ?? []), code])
  return Object.fromEntries([...byStatus].map(([status, group]) => [status, refusal(status, group)]))
}

function refusal(status: number, group: readonly Code[]) {
  const wait = { 'Retry-After': { schema: { type: 'integer' as const }, description: 'Seconds' } }
  return {
    description: group.map((code) => `\`${code}\`: ${codes[code][1]}`).join('; '),
    content: { 'application/problem+json': { schema: Problem }, 'text/plain': { schema: z.string() } },
    ...(status === 503 ? { headers: wait } : {}),
  }
}

/** What the frame reads from the headers, for the document alone. */
export function headerParameters(traits: Traits) {
  const text = (name: string, description: string, maxLength: number) => ({
    name,
    in: 'header' as const,
    required: false,
    description,
    schema: { type: 'string' as const, minLength: 1, maxLength },
  })
  const key = 'A repeat with the same key and body within 24 h gets the first answer and changes nothing'
  return [
    ...(traits.unsafe ? [text('Idempotency-Key', key, 255)] : []),
    ...(traits.ifMatch ? [text('If-Match', 'An ETag: 412 if the resource has changed since', 1_024)] : []),
  ]
}

/** OpenAPI 3.1 of all routes that are registered on `app`. */
export function openApiDocument(app: OpenAPIHono<AdminEnv>) {
  return app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Rollcall',
      version: '1',
      description: 'Times are Unix seconds. Lists are paged by `limit` and `cursor`. Refusals are RFC 9457 problems.',
    },
  })
}
