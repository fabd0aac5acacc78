import { z } from '@hono/zod-openapi'
import { readAudit } from '../../services/read-audit.ts'
import { adminRoute, answer, resource } from './frame.ts'
import { listOf, NumberedPageQuery, page } from './paging.ts'

const AuditEntry = z
  .object({
    at: z.int(),
    actor: z.string().describe('`token:<name>`, `cli`, `server`, `device:<serial>`'),
    action: z.string(),
    target: z.string().describe('e.g. `cluster:site-a`'),
    request_id: z.string().nullable(),
    detail: z.any(),
  })
  .openapi('AuditEntry')

const target = z.string().max(256).optional().openapi({ example: 'cluster:site-a' })

const list = adminRoute({
  method: 'get',
  path: '/audit',
  scope: 'read',
  tags: ['audit'],
  summary: 'What admins and the server did, newest first',
  request: { query: NumberedPageQuery.extend({ target }) },
  responses: { 200: answer('A page', listOf(AuditEntry, 'AuditList')) },
})

export const auditRoutes = () =>
  resource().openapi(list, async (c) => {
    const { limit, cursor, target } = c.req.valid('query')
    const rows = await readAudit(c.var.context, { target, before: cursor, limit: limit + 1 })
    const { items, next_cursor } = page(rows, limit, (row) => row.key)
    return c.json({ items: items.map((row) => row.entry), next_cursor }, 200)
  })
