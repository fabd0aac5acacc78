import { z } from '@hono/zod-openapi'
import { assurances, roles } from '../../documents/profile.ts'
import { readEnrollment, readEnrollments } from '../../services/read-enrollments.ts'
import { etagOf } from './etag.ts'
import { adminRoute, answer, resource } from './frame.ts'
import { listOf, PageQuery, page } from './paging.ts'

const tags = ['enrollments']
const time = z.int().nullable()

const Enrollment = z
  .object({
    id: z.string(),
    device: z.string().describe('Serial'),
    cluster: z.string(),
    profile: z.string(),
    profile_revision: z.int(),
    role: z.enum(roles),
    hostname: z.string(),
    assurance: z.enum(assurances),
    live: z.boolean(),
    created_at: z.int(),
    document_type: z.string(),
    document_digest: z.string().describe('SHA-256 in hex'),
    join_expires_at: z.int(),
    redeemed_at: time,
    report_expires_at: z.int(),
    last_step: z.string().nullable(),
    last_result: z.string().nullable(),
    last_detail: z.string().nullable(),
    last_step_at: time,
    applied_at: time,
    joined_at: time,
    ready_at: time,
    observed: z.boolean().describe('False: joined and ready are what the device reported'),
    ended_at: time,
    end_reason: z.string().nullable(),
  })
  .openapi('Enrollment')

const device = z.string().max(256).optional().openapi({ description: 'Serial, in any case' })
const cluster = z.string().max(256).optional().openapi({ description: 'Name' })

const list = adminRoute({
  method: 'get',
  path: '/enrollments',
  scope: 'read',
  tags,
  summary: 'Accepted claims, newest first',
  request: { query: PageQuery.extend({ device, cluster }) },
  responses: { 200: answer('A page', listOf(Enrollment, 'EnrollmentList')) },
})

const read = adminRoute({
  method: 'get',
  path: '/enrollments/{id}',
  scope: 'read',
  tags,
  summary: 'One accepted claim and what became of it',
  request: { params: z.object({ id: z.string().openapi({ example: 'enr_06fj3k2m4x0c5n8r1t7v9w0y2z' }) }) },
  responses: { 200: answer('The enrollment', Enrollment) },
  errors: ['not_found'],
})

export const enrollmentRoutes = () =>
  resource()
    .openapi(list, async (c) => {
      const { limit, cursor, device, cluster } = c.req.valid('query')
      const filter = { serialKey: device?.trim().toLowerCase(), cluster, before: cursor, limit: limit + 1 }
      const rows = await readEnrollments(c.var.context, filter)
      return c.json(
        page(rows, limit, (row) => row.id),
        200,
      )
    })
    .openapi(read, async (c) => {
      const enrollment = await readEnrollment(c.var.context, c.req.valid('param').id)
      return c.json(enrollment, 200, { ETag: etagOf(enrollment) })
    })
