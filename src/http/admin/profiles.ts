import { z } from '@hono/zod-openapi'
import { ProfileSpec } from '../../documents/profile.ts'
import { changeProfile } from '../../services/change-profile.ts'
import { createProfile } from '../../services/create-profile.ts'
import { deleteProfile } from '../../services/delete-profile.ts'
import { patchOf } from '../../services/merge-patch.ts'
import { readProfile, readProfiles, readRevisions } from '../../services/read-profiles.ts'
import { etag, ifMatch } from './etag.ts'
import { actor, adminRoute, answer, resource } from './frame.ts'
import { LintProblem } from './lint-problem.ts'
import { listOf, NumberedPageQuery, PageQuery, page } from './paging.ts'

const tags = ['profiles']

// Not `extend`: the document would say allOf, of which the strict half refuses the other half's members.
const Profile = z
  .object({
    ...ProfileSpec.shape,
    id: z.string(),
    revision: z.int(),
    created_at: z.int(),
    updated_at: z.int(),
    warnings: z.array(LintProblem).optional().describe('Of what was just saved'),
  })
  .openapi('SavedProfile')

const Revision = z
  .object({ revision: z.int(), created_at: z.int(), created_by: z.string(), spec: ProfileSpec })
  .openapi('ProfileRevision')

const ProfilePatch = patchOf(ProfileSpec.shape).openapi('ProfilePatch')
const params = z.object({ name: z.string().openapi({ example: 'edge-agent' }) })

const example = { name: 'edge-server', document: 'cloud-init', role: 'server', template: 'builtin:debian' }

const list = adminRoute({
  method: 'get',
  path: '/profiles',
  scope: 'read',
  tags,
  summary: 'All profiles, each at its newest revision',
  request: { query: PageQuery },
  responses: { 200: answer('A page', listOf(Profile, 'ProfileList')) },
})

const create = adminRoute({
  method: 'post',
  path: '/profiles',
  scope: 'admin',
  tags,
  summary: 'Make a profile; its template is linted',
  request: { body: { required: true, content: { 'application/json': { schema: ProfileSpec, example } } } },
  responses: { 201: answer('Made', Profile) },
  errors: ['already_exists'],
})

const read = adminRoute({
  method: 'get',
  path: '/profiles/{name}',
  scope: 'read',
  tags,
  summary: 'One profile',
  request: { params },
  responses: { 200: answer('The newest revision', Profile) },
  errors: ['not_found'],
})

const revisions = adminRoute({
  method: 'get',
  path: '/profiles/{name}/revisions',
  scope: 'read',
  tags,
  summary: 'What a profile was, newest first',
  request: { params, query: NumberedPageQuery },
  responses: { 200: answer('A page', listOf(Revision, 'ProfileRevisionList')) },
  errors: ['not_found'],
})

const change = adminRoute({
  method: 'patch',
  path: '/profiles/{name}',
  scope: 'admin',
  ifMatch: true,
  tags,
  summary: 'Make the next revision (RFC 7396: null takes a member back to its default)',
  description: 'The same content makes no revision.',
  request: { params, body: { required: true, content: { 'application/json': { schema: ProfilePatch } } } },
  responses: { 200: answer('As it is now', Profile) },
  errors: ['not_found'],
})

const remove = adminRoute({
  method: 'delete',
  path: '/profiles/{name}',
  scope: 'admin',
  ifMatch: true,
  tags,
  summary: 'Take a profile away; refused while devices use it',
  request: { params },
  responses: { 204: { description: 'Gone' } },
  errors: ['not_found', 'state_conflict'],
})

export const profileRoutes = () =>
  resource()
    .openapi(list, async (c) => {
      const { limit, cursor } = c.req.valid('query')
      const rows = await readProfiles(c.var.context, { after: cursor, limit: limit + 1 })
      return c.json(
        page(rows, limit, (row) => row.id),
        200,
      )
    })
    .openapi(create, async (c) => {
      const profile = await createProfile(c.var.context, actor(c), c.req.valid('json'))
      return c.json(profile.body, 201, { ETag: etag(profile), Location: `/api/v1/profiles/${profile.body.name}` })
    })
    .openapi(read, async (c) => {
      const profile = await readProfile(c.var.context, c.req.valid('param').name)
      return c.json(profile.body, 200, { ETag: etag(profile) })
    })
    .openapi(revisions, async (c) => {
      const { limit, cursor } = c.req.valid('query')
      const { name } = c.req.valid('param')
      const rows = await readRevisions(c.var.context, name, { before: cursor, limit: limit + 1 })
      return c.json(
        page(rows, limit, (row) => String(row.revision)),
        200,
      )
    })
    .openapi(change, async (c) => {
      const { name } = c.req.valid('param')
      const profile = await changeProfile(c.var.context, actor(c), name, c.req.valid('json'), ifMatch(c))
      return c.json(profile.body, 200, { ETag: etag(profile) })
    })
    .openapi(remove, async (c) => {
      await deleteProfile(c.var.context, actor(c), c.req.valid('param').name, ifMatch(c))
      return c.body(null, 204)
    })
