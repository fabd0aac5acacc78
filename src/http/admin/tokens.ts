import { z } from '@hono/zod-openapi'
import type { MiddlewareHandler } from 'hono'
import { scopes } from '../../services/admin-token.ts'
import { createToken } from '../../services/create-token.ts'
import { deleteToken } from '../../services/delete-token.ts'
import { readToken, readTokens } from '../../services/read-tokens.ts'
import { etag, ifMatch } from './etag.ts'
import { type AdminEnv, actor, adminRoute, answer, resource } from './frame.ts'
import { listOf, PageQuery, page } from './paging.ts'

const tags = ['tokens']
const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/, 'letters, digits and . _ @ -, at most 64')

const Token = z
  .object({
    id: z.string(),
    name: z.string(),
    scope: z.enum(scopes),
    created_at: z.int(),
    expires_at: z.int().nullable().describe('Unix seconds; null = does not end by itself'),
  })
  .openapi('Token')

const TokenInput = z
  .strictObject({
    name,
    scope: z.enum(scopes),
    expires: z
      .union([z.string().regex(/^\d{1,10}[smhdw]$/, 'a span such as 30d'), z.int()])
      .optional()
      .describe('A span such as `30d` (s, m, h, d, w), or Unix seconds; at most a hundred years'),
  })
  .openapi('TokenInput')

const NewToken = Token.extend({ token: z.string().describe('Shown this once') }).openapi('NewToken')
const params = z.object({ token: z.string().openapi({ description: 'Id or name', example: 'ci' }) })

const example = { name: 'monitoring', scope: 'read', expires: '90d' }

const list = adminRoute({
  method: 'get',
  path: '/tokens',
  scope: 'read',
  tags,
  summary: 'Admin tokens, never the secret itself',
  request: { query: PageQuery },
  responses: { 200: answer('A page', listOf(Token, 'TokenList')) },
})

const create = adminRoute({
  method: 'post',
  path: '/tokens',
  scope: 'admin',
  secretAnswer: true,
  tags,
  summary: 'Make an admin token; the answer alone shows it',
  description: 'A repeat with the same Idempotency-Key is 409: the token is not kept.',
  request: { body: { required: true, content: { 'application/json': { schema: TokenInput, example } } } },
  responses: { 201: answer('Made', NewToken) },
  errors: ['already_exists'],
})

const read = adminRoute({
  method: 'get',
  path: '/tokens/{token}',
  scope: 'read',
  tags,
  summary: 'One token',
  request: { params },
  responses: { 200: answer('The token', Token) },
  errors: ['not_found'],
})

/** After the commit, which with an Idempotency-Key comes after the handler. */
const forgetTokens: MiddlewareHandler<AdminEnv> = async (c, next) => {
  await next()
  c.var.tokens.forget()
}

const remove = adminRoute({
  method: 'delete',
  path: '/tokens/{token}',
  scope: 'admin',
  ifMatch: true,
  around: forgetTokens,
  tags,
  summary: 'End a token at once',
  request: { params },
  responses: { 204: { description: 'Ended' } },
  errors: ['not_found'],
})

export const tokenRoutes = () =>
  resource()
    .openapi(list, async (c) => {
      const { limit, cursor } = c.req.valid('query')
      const rows = await readTokens(c.var.context, { after: cursor, limit: limit + 1 })
      return c.json(
        page(rows, limit, (row) => row.id),
        200,
      )
    })
    .openapi(create, async (c) => {
      const token = await createToken(c.var.context, actor(c), c.req.valid('json'))
      c.header('Cache-Control', 'no-store')
      return c.json(token.body, 201, { ETag: etag(token), Location: `/api/v1/tokens/${token.id}` })
    })
    .openapi(read, async (c) => {
      const token = await readToken(c.var.context, c.req.valid('param').token)
      return c.json(token.body, 200, { ETag: etag(token) })
    })
    .openapi(remove, async (c) => {
      await deleteToken(c.var.context, actor(c), c.req.valid('param').token, ifMatch(c))
      return c.body(null, 204)
    })
