import { z } from '@hono/zod-openapi'
import { VersionSpec } from '../../k3s/cluster.ts'
import { createVersion } from '../../services/create-version.ts'
import { readVersion, readVersions } from '../../services/read-versions.ts'
import { etag } from './etag.ts'
import { actor, adminRoute, answer, resource } from './frame.ts'
import { listOf, PageQuery, page } from './paging.ts'

const tags = ['versions']
const Version = z.object({ ...VersionSpec.shape, created_at: z.int() }).openapi('RecordedVersion')
const params = z.object({ version: z.string().openapi({ example: 'v1.36.3+k3s1' }) })

const example = {
  version: 'v1.36.2+k3s1',
  artifacts: { amd64: { sha256: '5e'.repeat(32) } },
  install_script: { sha256: '7a'.repeat(32) },
}

const list = adminRoute({
  method: 'get',
  path: '/versions',
  scope: 'read',
  tags,
  summary: 'K3s releases whose hashes are on record',
  request: { query: PageQuery },
  responses: { 200: answer('A page', listOf(Version, 'VersionList')) },
})

const create = adminRoute({
  method: 'post',
  path: '/versions',
  scope: 'admin',
  tags,
  summary: 'Record what may run as root on nodes',
  description: 'A hash on record never changes. An architecture can be added to a version later.',
  request: { body: { required: true, content: { 'application/json': { schema: VersionSpec, example } } } },
  responses: { 201: answer('Recorded', Version), 200: answer('On record already, or extended', Version) },
  errors: ['already_exists'],
})

const read = adminRoute({
  method: 'get',
  path: '/versions/{version}',
  scope: 'read',
  tags,
  summary: 'One release',
  request: { params },
  responses: { 200: answer('The release', Version) },
  errors: ['not_found'],
})

export const versionRoutes = () =>
  resource()
    .openapi(list, async (c) => {
      const { limit, cursor } = c.req.valid('query')
      const rows = await readVersions(c.var.context, { after: cursor, limit: limit + 1 })
      return c.json(
        page(rows, limit, (row) => row.version),
        200,
      )
    })
    .openapi(create, async (c) => {
      const { created, version } = await createVersion(c.var.context, actor(c), c.req.valid('json'))
      const headers = { ETag: etag(version), Location: `/api/v1/versions/${encodeURIComponent(version.id)}` }
      return created ? c.json(version.body, 201, headers) : c.json(version.body, 200, headers)
    })
    .openapi(read, async (c) => {
      const version = await readVersion(c.var.context, c.req.valid('param').version)
      return c.json(version.body, 200, { ETag: etag(version) })
    })
