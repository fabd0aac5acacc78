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

export const challengeRoutes = ({ keys, now, random }: ChallengeDeps) =>
  new OpenAPIHono().openapi(route, (c) => {
    const server_time = now()
    const nonce = issueNonce(keys.nonce, server_time, random(16))
    const body = { nonce, server_time, ttl: lifetime.fresh }
    c.header('Cache-Control', 'no-store')
    c.header('Rollcall-Nonce', nonce)
    // HEAD loses its Content-Length otherwise, and firmware asks HEAD first.
    if (c.req.method === 'HEAD') c.header('Content-Length', String(JSON.stringify(body).length))
    return c.json(body, 200)
  })
