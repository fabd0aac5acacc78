import { z } from '@hono/zod-openapi'
import { acceptRotation } from '../../services/accept-rotation.ts'
import { purgeCluster } from '../../services/purge-cluster.ts'
import { releaseInitializer } from '../../services/release-initializer.ts'
import { resetCluster } from '../../services/reset-cluster.ts'
import { Cluster, nameParam as params } from './cluster-schema.ts'
import { etag, ifMatch } from './etag.ts'
import { actor, adminRoute, answer, resource } from './frame.ts'

const hex = z.string().regex(/^[0-9a-f]{64}$/, '64 hex digits')
const Rotation = z
  .strictObject({
    server_token: hex.optional().describe('What `k3s token rotate` was given; sealed, never shown again'),
    ca_hash: hex.optional().describe('SHA-256 of the new CA, as it stands in `K10…` tokens'),
  })
  .openapi('ClusterRotation')
const Reset = z
  .strictObject({
    force: z.boolean().optional().describe('End the enrollments of its servers, and erase a managed datastore'),
  })
  .openapi('ClusterReset')

const optional = <S extends z.ZodType>(schema: S, example: unknown) => ({
  params,
  body: { required: false, content: { 'application/json': { schema, example } } },
})
const shared = { method: 'post' as const, scope: 'admin' as const, ifMatch: true, tags: ['clusters'] }
const responses = { 200: answer('As it is now', Cluster) }

const release = adminRoute({
  ...shared,
  path: '/clusters/{name}/release-initializer',
  summary: 'Let another server go first',
  description:
    'Only for a cluster that has not come up. On a datastore that is not managed, make sure that the first server is off.',
  request: { params },
  responses,
  errors: ['not_found', 'state_conflict'],
})

const rotated = adminRoute({
  ...shared,
  path: '/clusters/{name}/rotated',
  summary: 'Say that server token and CA were rotated',
  description:
    'Ends `compromised`, and `stuck` over two CA hashes. Without `server_token` a compromised cluster gets one that nobody knows, which is right only where no server is left.',
  request: optional(Rotation, { server_token: 'a1'.repeat(32), ca_hash: 'b2'.repeat(32) }),
  responses,
  errors: ['not_found', 'state_conflict'],
})

const reset = adminRoute({
  ...shared,
  path: '/clusters/{name}/reset',
  summary: 'Make a cluster virgin: new server token, nothing known of it',
  description:
    'Refused while servers are enrolled or a managed datastore is not empty, unless `force`. Another kind of datastore the admin empties first. Its agents must join again.',
  request: optional(Reset, { force: true }),
  responses,
  errors: ['not_found', 'state_conflict', 'datastore_unavailable'],
})

const purge = adminRoute({
  method: 'post',
  scope: 'admin',
  tags: ['clusters'],
  path: '/clusters/{name}/purge',
  summary: 'Erase what deleted clusters of this name left in the managed datastore',
  description:
    'For good. Refused while a cluster of this name is on the roll. The answer shows the one that was deleted last; again, the same.',
  request: { params },
  responses,
  errors: ['not_found', 'state_conflict', 'datastore_unavailable'],
})

export const clusterVerbRoutes = () =>
  resource()
    .openapi(release, async (c) => {
      const request = { ...c.req.valid('param'), precondition: ifMatch(c) }
      const cluster = await releaseInitializer(c.var.context, actor(c), request)
      return c.json(cluster.body, 200, { ETag: etag(cluster) })
    })
    .openapi(rotated, async (c) => {
      const request = { ...c.req.valid('param'), precondition: ifMatch(c) }
      const cluster = await acceptRotation(c.var.context, actor(c), request, c.req.valid('json'))
      return c.json(cluster.body, 200, { ETag: etag(cluster) })
    })
    .openapi(reset, async (c) => {
      const request = { ...c.req.valid('param'), precondition: ifMatch(c) }
      const cluster = await resetCluster(c.var.context, actor(c), request, c.req.valid('json'))
      return c.json(cluster.body, 200, { ETag: etag(cluster) })
    })
    .openapi(purge, async (c) => {
      const cluster = await purgeCluster(c.var.context, actor(c), c.req.valid('param').name)
      return c.json(cluster.body, 200, { ETag: etag(cluster) })
    })
