import { z } from '@hono/zod-openapi'
import { assurances, roles } from '../../documents/profile.ts'
import { AppError } from '../../errors.ts'
import { anyMembers } from '../../roll/device-input.ts'
import { readDocument } from '../../services/read-document.ts'
import { eventNumber, readTimeline } from '../../services/read-timeline.ts'
import { serialParam as params } from './device-schema.ts'
import { etagOf } from './etag.ts'
import { adminRoute, answer, resource } from './frame.ts'
import { listOf, PageQuery, page } from './paging.ts'

const tags = ['devices']

const TimelineEvent = z
  .object({
    id: z.string(),
    at: z.int(),
    source: z.string().describe('server, node, cloud-init, phone-home or admin'),
    name: z.string(),
    result: z.string().nullable(),
    detail: z.any(),
    enrollment: z.string().nullable(),
  })
  .openapi('TimelineEvent')

const ShownDocument = z
  .object({
    enrollment: z.string(),
    created_at: z.int(),
    content_type: z.string(),
    digest: z.string().describe('SHA-256 in hex of what the device was given'),
    document: z.string().nullable().describe('Secrets are placeholders'),
    why: z.object({
      profile: z.string(),
      profile_revision: z.int(),
      profile_spec: z.any().describe('The revision that it was rendered from'),
      cluster: z.string(),
      role: z.enum(roles),
      hostname: z.string(),
      assurance: z.enum(assurances),
      device: z.object({
        labels: z.record(z.string(), z.string()),
        vars: z.record(z.string(), z.json()).openapi(anyMembers),
        note: z.string(),
      }),
      device_changed_since: z.boolean().describe('`device` was changed after the document was rendered'),
    }),
  })
  .openapi('Document')

const timeline = adminRoute({
  method: 'get',
  path: '/devices/{serial}/timeline',
  scope: 'read',
  tags,
  summary: 'What happened to a device, oldest first',
  request: { params, query: PageQuery },
  responses: { 200: answer('A page', listOf(TimelineEvent, 'Timeline')) },
  errors: ['not_found'],
})

const document = adminRoute({
  method: 'get',
  path: '/devices/{serial}/document',
  scope: 'read',
  tags,
  summary: 'The last document that a device was given, without its secrets, and why it says what it says',
  request: { params },
  responses: { 200: answer('The document', ShownDocument) },
  errors: ['not_found'],
})

export const deviceTimelineRoutes = () =>
  resource()
    .openapi(timeline, async (c) => {
      const { limit, cursor } = c.req.valid('query')
      const { serial } = c.req.valid('param')
      const rows = await readTimeline(c.var.context, serial, { after: numberOf(cursor), limit: limit + 1 })
      return c.json(page(rows, limit, eventNumber), 200)
    })
    .openapi(document, async (c) => {
      const shown = await readDocument(c.var.context, c.req.valid('param').serial)
      return c.json(shown, 200, { ETag: etagOf(shown) })
    })

function numberOf(cursor: string | undefined): number | undefined {
  if (cursor === undefined) return undefined
  if (/^\d{1,15}$/.test(cursor)) return Number(cursor)
  throw new AppError('invalid', { errors: [{ path: 'query.cursor', reason: 'not a cursor of this list' }] })
}
