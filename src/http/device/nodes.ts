import { z } from '@hono/zod-openapi'
import { type Context, Hono } from 'hono'
import { AppError } from '../../errors.ts'
import type { KubeconfigUpload } from '../../services/keep-kubeconfig.ts'
import type { NodeCredentials, NodeHolder } from '../../services/node-credential.ts'
import type { NodesReport } from '../../services/report-nodes.ts'
import { readBody } from '../body.ts'
import { nodeCredential } from './node-credential.ts'

export type NodeDeps = {
  nodes: NodeCredentials
  reportNodes: (holder: NodeHolder, report: NodesReport) => Promise<'kubeconfig' | undefined>
  keepKubeconfig: (holder: NodeHolder, upload: KubeconfigUpload) => Promise<void>
  firstManifests: (holder: NodeHolder) => Promise<string | undefined>
}

/** Bytes. A cluster of some thousand nodes; and PROTOCOL.md, "Tasks and nodes". */
const limits = { nodes: 1_048_576, kubeconfig: 65_536 } as const

const Report = z.strictObject({
  ca_hash: z.string().regex(/^[0-9a-f]{64}$/, '64 hex digits'),
  nodes: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(253),
        ready: z.boolean().nullable(),
        version: z.string().max(256).nullish(),
      }),
    )
    .max(10_000),
  pods_not_running: z.int().min(0).max(2_147_483_647),
})

export const nodeRoutes = ({ nodes, reportNodes, keepKubeconfig, firstManifests }: NodeDeps) =>
  new Hono()
    .put('/v1/nodes', async (c) => {
      const holder = await nodes.check(nodeCredential(c))
      const wanted = await reportNodes(holder, readReport(await text(c, limits.nodes)))
      // A kubeconfig is all of a cluster: no server offers its own.
      if (wanted) c.header('Rollcall-Want', wanted)
      return c.body(null, 204)
    })
    .get('/v1/manifests', async (c) => {
      const holder = await nodes.check(nodeCredential(c))
      const text = await firstManifests(holder)
      if (text === undefined) return c.body(null, 204)
      return c.body(text, 200, { 'Content-Type': 'application/yaml', 'Cache-Control': 'no-store' })
    })
    .put('/v1/kubeconfig', async (c) => {
      const holder = await nodes.check(nodeCredential(c))
      await keepKubeconfig(holder, { text: () => text(c, limits.kubeconfig) })
      return c.body(null, 204)
    })

async function text(c: Context, limit: number): Promise<string> {
  const body = await readBody(c, limit, { code: 'body_too_large' })
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body)
  } catch (cause) {
    throw new AppError('request_invalid', { detail: 'the body is not UTF-8', cause })
  }
}

function readReport(text: string): NodesReport {
  const { ca_hash, nodes, pods_not_running } = parsed(text)
  return {
    caHash: ca_hash,
    nodes: nodes.map(({ name, ready, version }) => ({ name, ready, version: version ?? null })),
    podsNotRunning: pods_not_running,
  }
}

function parsed(text: string): z.output<typeof Report> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new AppError('request_invalid', { detail: 'the body is not JSON', cause })
  }
  const found = Report.safeParse(json)
  if (found.success) return found.data
  const [issue] = found.error.issues
  throw new AppError('request_invalid', { detail: `${issue?.path.join('.') || 'body'}: ${issue?.message}` })
}
