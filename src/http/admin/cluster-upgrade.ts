import { z } from '@hono/zod-openapi'
import { UpgradeRequest } from '../../k3s/upgrade.ts'
import { readUpgradePlan, upgradeCluster } from '../../services/upgrade-cluster.ts'
import { Cluster, nameParam as params } from './cluster-schema.ts'
import { etag, ifMatch } from './etag.ts'
import { actor, adminRoute, answer, resource } from './frame.ts'

const example = { version: 'v1.36.3+k3s1', window: { days: ['saturday'], start: '02:00', end: '04:00' } }

const begin = adminRoute({
  method: 'post',
  path: '/clusters/{name}/upgrade',
  scope: 'admin',
  ifMatch: true,
  tags: ['clusters'],
  summary: 'Begin an upgrade; its plan is to be applied to the cluster',
  description:
    'Servers one at a time, then agents, by system-upgrade-controller. No minor version is skipped, none is gone back to. New machines get the old version until every server runs the new one.',
  request: { params, body: { required: true, content: { 'application/json': { schema: UpgradeRequest, example } } } },
  responses: { 200: answer('As it is now', Cluster) },
  errors: ['not_found', 'state_conflict'],
})

const plan = adminRoute({
  method: 'get',
  path: '/clusters/{name}/upgrade-plan',
  scope: 'read',
  tags: ['clusters'],
  summary: 'The Plans of the upgrade that runs, or ran last, for kubectl apply',
  request: { params },
  responses: { 200: { description: 'YAML', content: { 'application/yaml': { schema: z.string() } } } },
  errors: ['not_found'],
})

export const clusterUpgradeRoutes = () =>
  resource()
    .openapi(begin, async (c) => {
      const { name } = c.req.valid('param')
      const cluster = await upgradeCluster(c.var.context, actor(c), name, c.req.valid('json'), ifMatch(c))
      return c.json(cluster.body, 200, { ETag: etag(cluster) })
    })
    .openapi(plan, async (c) => {
      const yaml = await readUpgradePlan(c.var.context, c.req.valid('param').name)
      return c.body(yaml, 200, { 'Content-Type': 'application/yaml' })
    })
