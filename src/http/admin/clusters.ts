import { z } from '@hono/zod-openapi'
import { ClusterAccess, ClusterSpec, Datastore } from '../../k3s/cluster.ts'
import { changeCluster } from '../../services/change-cluster.ts'
import { checkChangedDatastore, checkNewDatastore } from '../../services/check-datastore.ts'
import { createCluster } from '../../services/create-cluster.ts'
import { deleteCluster } from '../../services/delete-cluster.ts'
import { patchOf } from '../../services/merge-patch.ts'
import { readNodes } from '../../services/node-view.ts'
import { readCluster, readClusters } from '../../services/read-clusters.ts'
import { Cluster, ClusterSummary, Node, nameParam as params } from './cluster-schema.ts'
import { etag, ifMatch } from './etag.ts'
import { actor, adminRoute, answer, resource } from './frame.ts'
import { listOf, PageQuery, page } from './paging.ts'

const tags = ['clusters']

const ClusterPatch = patchOf({
  ...ClusterSpec.shape,
  datastore: patchOf(Datastore.shape),
  access: patchOf(ClusterAccess.shape),
}).openapi('ClusterPatch')
const CheckQuery = z.object({
  check: z
    .enum(['true', 'false'])
    .optional()
    .describe('Try the datastore from the server first; 422 if K3s would not come up on it'),
})

const example = {
  name: 'site-b',
  version: 'v1.36.3+k3s1',
  api_endpoint: 'https://k3s.site-b.example:6443',
  datastore: { kind: 'sqlite' },
}

const list = adminRoute({
  method: 'get',
  path: '/clusters',
  scope: 'read',
  tags,
  summary: 'All clusters',
  request: { query: PageQuery },
  responses: { 200: answer('A page', listOf(ClusterSummary, 'ClusterList')) },
})

const create = adminRoute({
  method: 'post',
  path: '/clusters',
  scope: 'admin',
  tags,
  summary: 'Declare a cluster',
  description:
    'The version needs hashes on record, unless `allow_unpinned`. With a `ca_hash` the cluster counts as up. On a `managed` datastore it gets its schema; that nodes can reach it is tried first.',
  request: {
    query: CheckQuery,
    body: { required: true, content: { 'application/json': { schema: ClusterSpec, example } } },
  },
  responses: { 201: answer('Declared', Cluster) },
  errors: ['already_exists', 'datastore_unavailable'],
})

const read = adminRoute({
  method: 'get',
  path: '/clusters/{name}',
  scope: 'read',
  tags,
  summary: 'One cluster and its nodes',
  request: { params },
  responses: { 200: answer('The cluster', Cluster) },
  errors: ['not_found'],
})

const nodes = adminRoute({
  method: 'get',
  path: '/clusters/{name}/nodes',
  scope: 'read',
  tags,
  summary: 'The Nodes that a cluster shows and the devices that are enrolled in it, by name',
  request: { params, query: PageQuery },
  responses: { 200: answer('A page', listOf(Node, 'ClusterNodeList')) },
  errors: ['not_found'],
})

const change = adminRoute({
  method: 'patch',
  path: '/clusters/{name}',
  scope: 'admin',
  ifMatch: true,
  tags,
  summary: 'Change a cluster (RFC 7396: null takes a member back to its default)',
  request: {
    params,
    query: CheckQuery,
    body: { required: true, content: { 'application/json': { schema: ClusterPatch } } },
  },
  responses: { 200: answer('As it is now', Cluster) },
  errors: ['not_found', 'state_conflict', 'datastore_unavailable'],
})

const remove = adminRoute({
  method: 'delete',
  path: '/clusters/{name}',
  scope: 'admin',
  ifMatch: true,
  tags,
  summary: 'Take a cluster off the roll; refused while devices are on it',
  request: { params },
  responses: { 204: { description: 'Gone' } },
  errors: ['not_found', 'state_conflict'],
})

export const clusterRoutes = () =>
  resource()
    .openapi(list, async (c) => {
      const { limit, cursor } = c.req.valid('query')
      const rows = await readClusters(c.var.context, { after: cursor, limit: limit + 1 })
      return c.json(
        page(rows, limit, (row) => row.id),
        200,
      )
    })
    .openapi(create, async (c) => {
      const spec = c.req.valid('json')
      const asked = c.req.valid('query').check === 'true'
      const found = await checkNewDatastore(c.var.context, spec, asked)
      const cluster = await createCluster(c.var.context, actor(c), spec)
      return c.json({ ...cluster.body, ...(found && { datastore_findings: found }) }, 201, {
        ETag: etag(cluster),
        Location: `/api/v1/clusters/${cluster.body.name}`,
      })
    })
    .openapi(read, async (c) => {
      const cluster = await readCluster(c.var.context, c.req.valid('param').name)
      return c.json(cluster.body, 200, { ETag: etag(cluster) })
    })
    .openapi(nodes, async (c) => {
      const { limit, cursor } = c.req.valid('query')
      const rows = await readNodes(c.var.context, c.req.valid('param').name, { after: cursor, limit: limit + 1 })
      return c.json(
        page(rows, limit, (row) => row.name),
        200,
      )
    })
    .openapi(change, async (c) => {
      const { name } = c.req.valid('param')
      const patch = c.req.valid('json')
      const asked = c.req.valid('query').check === 'true'
      const found = asked ? { datastore_findings: await checkChangedDatastore(c.var.context, name, patch) } : {}
      const cluster = await changeCluster(c.var.context, actor(c), name, patch, ifMatch(c))
      return c.json({ ...cluster.body, ...found }, 200, { ETag: etag(cluster) })
    })
    .openapi(remove, async (c) => {
      await deleteCluster(c.var.context, actor(c), c.req.valid('param').name, ifMatch(c))
      return c.body(null, 204)
    })
