import { z } from '@hono/zod-openapi'
import { readHaproxy, readKeepalived, readKubeconfig, readZone } from '../../services/read-cluster-outputs.ts'
import { actor, adminRoute, resource } from './frame.ts'

const tags = ['clusters']
const params = z.object({ name: z.string().openapi({ example: 'site-a' }) })
const text = (description: string, type: string) => ({ description, content: { [type]: { schema: z.string() } } })
const plain = { 'Content-Type': 'text/plain; charset=utf-8' }

const kubeconfig = adminRoute({
  method: 'get',
  path: '/clusters/{name}/kubeconfig',
  scope: 'admin',
  tags,
  summary: 'The kubeconfig of a cluster that keeps it here, led to its API endpoint; noted in the audit each time',
  request: { params },
  responses: { 200: text('The kubeconfig', 'application/yaml') },
  errors: ['not_found', 'state_conflict'],
})

const haproxy = adminRoute({
  method: 'get',
  path: '/clusters/{name}/haproxy',
  scope: 'read',
  tags,
  summary: 'haproxy.cfg for the machines before its servers',
  request: { params },
  responses: { 200: text('haproxy.cfg', 'text/plain') },
  errors: ['not_found', 'state_conflict'],
})

const KeepalivedQuery = z.object({
  interface: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,15}$/, 'the name of a network interface')
    .default('eth0'),
  router_id: z
    .string()
    .regex(/^\d{1,3}$/, 'a whole number')
    .transform(Number)
    .pipe(z.int().min(1).max(255))
    .default(51)
    .openapi({ type: 'integer', minimum: 1, maximum: 255, default: 51 }),
})

const keepalived = adminRoute({
  method: 'get',
  path: '/clusters/{name}/keepalived',
  scope: 'read',
  tags,
  summary: 'keepalived.conf for the machines that share its virtual addresses',
  request: { params, query: KeepalivedQuery },
  responses: { 200: text('keepalived.conf', 'text/plain') },
  errors: ['not_found', 'state_conflict'],
})

const zone = adminRoute({
  method: 'get',
  path: '/clusters/{name}/zone',
  scope: 'read',
  tags,
  summary: "Records for its API endpoint's name, in the form of a zone file",
  request: { params },
  responses: { 200: text('Zone records', 'text/plain') },
  errors: ['not_found', 'state_conflict'],
})

/** What of a cluster goes into other programs. */
export const clusterOutputRoutes = () =>
  resource()
    .openapi(kubeconfig, async (c) => {
      const made = await readKubeconfig(c.var.context, actor(c), c.req.valid('param').name)
      return c.body(made, 200, { 'Content-Type': 'application/yaml', 'Cache-Control': 'no-store' }) as never
    })
    .openapi(
      haproxy,
      async (c) => c.body(await readHaproxy(c.var.context, c.req.valid('param').name), 200, plain) as never,
    )
    .openapi(keepalived, async (c) => {
      const { interface: link, router_id } = c.req.valid('query')
      return c.body(
        await readKeepalived(c.var.context, c.req.valid('param').name, link, router_id),
        200,
        plain,
      ) as never
    })
    .openapi(zone, async (c) => c.body(await readZone(c.var.context, c.req.valid('param').name), 200, plain) as never)
