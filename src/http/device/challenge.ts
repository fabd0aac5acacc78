import { createSecretKey } from 'node:crypto'
import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi'
import { issueNonce, lifetime } from '../../identity/nonce.ts'

const Challenge = z
  .object({
    nonce: z.string().length(48).describe('Goes into the claim as `eat_nonce`'),
    server_time: z.int().describe('Unix seconds; a box without a clock sets its own from this'),
    ttl: z.int().describe('Seconds for which the nonce is fresh'),
  })
  .openapi('Challenge')

const route = createRoute({
  method: 'get',
  path: '/v1/challenge',
  tags: ['device'],
  summary: 'A nonce for the next claim; nothing is stored',
  responses: { 200: { description: 'A fresh nonce', content: { 'application/json': { schema: Challenge } } } },
})

/** What this route needs from outside; tests pass a fixed clock and fixed bytes. */
export type ChallengeDeps = {
  keys: { nonce: Uint8Array }
  now: () => number
  random: (bytes: number) => Uint8Array
}

/** Makes the answers, for both ways to them. */
export function challenger({ keys, now, random }: ChallengeDeps): () => z.output<typeof Challenge> {
  const key = createSecretKey(keys.nonce)
  return () => {
    const server_time = now()
    return { nonce: issueNonce(key, server_time, random(16)), server_time, ttl: lifetime.fresh }
  }
}

export function challengeRoutes(deps: ChallengeDeps) {
  const challenge = challenger(deps)
  return new OpenAPIHono().openapi(route, (c) => {
    const body = challenge()
    c.header('Cache-Control', 'no-store')
    c.header('Rollcall-Nonce', body.nonce)
    // HEAD loses its Content-Length otherwise, and firmware asks HEAD first.
    if (c.req.method === 'HEAD') c.header('Content-Length', String(JSON.stringify(body).length))
    return c.json(body, 200)
  })
}
