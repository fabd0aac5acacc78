import { z } from '@hono/zod-openapi'
import { ClusterSpec, datastoreKinds, LoadBalancer } from '../../k3s/cluster.ts'
import { UpgradeWindow } from '../../k3s/upgrade-window.ts'

/** A cluster in lists. Times are Unix seconds. */
export const ClusterSummary = z
  .object({
    id: z.string(),
    name: z.string(),
    version: z.string(),
    api_endpoint: z.string().nullable(),
    ca_hash: z.string().nullable(),
    allow_unpinned: z.boolean(),
    allow_weak_servers: z.boolean(),
    datastore: z.object({ kind: z.enum(datastoreKinds) }).describe('Never its endpoint, which may hold a password'),
    tls_sans: z.array(z.string()),
    load_balancer: LoadBalancer,
    rancher: z.enum(['import', 'install']).nullable().describe('Never more of it, which holds tokens'),
    access: z.boolean().describe('Rollcall did not make it, and calls its API; never where and by what'),
    settings: ClusterSpec.shape.settings.unwrap(),
    registries: z.boolean().describe('A registries.yaml is set; its text may hold passwords and is not shown'),
    state: z.enum(['virgin', 'initializing', 'up', 'stuck', 'compromised']),
    state_since: z.int(),
    stuck_reason: z.string().nullable().describe('Why it is `stuck`, and what to do'),
    ca_hash_confirmed: z.boolean().describe('A second source said the same'),
    escrow_kubeconfig: z.boolean(),
    kubeconfig_at: z.int().nullable().describe('When a server uploaded it last'),
    bootstrap: z
      .enum(['virgin', 'locked', 'ready'])
      .nullable()
      .describe('What K3s keeps its CA keys in, as last read from a managed datastore'),
    observed_at: z
      .int()
      .nullable()
      .describe('When the cluster was last read, or its servers told of it; a minute fine'),
    observe_trouble: z.string().nullable().describe('What keeps it from being read'),
    pods_not_running: z.int().nullable(),
    created_at: z.int(),
    updated_at: z.int(),
  })
  .openapi('ClusterSummary')

const Count = z.object({ at: z.int(), of: z.int() })
const Upgrade = z
  .object({
    from: z.string(),
    to: z.string(),
    state: z.enum(['running', 'done', 'ended']),
    started_at: z.int(),
    servers_done_at: z.int().nullable().describe('Every server runs it: new machines get it too'),
    done_at: z.int().nullable(),
    servers: Count,
    agents: Count,
    strangers: Count.describe('Nodes that no enrollment explains; they may be servers'),
    window: UpgradeWindow.nullable(),
    agents_at_once: z.int(),
    drain_agents: z.boolean(),
    image: z.string(),
    waits_for: z.string().nullable(),
    stuck_reason: z.string().nullable(),
    apply: z.string().nullable().describe('What the admin runs'),
  })
  .openapi('Upgrade')

/** What a cluster shows of a Node. */
export const NodeSight = z
  .object({
    ready: z.boolean().nullable().describe('Null: unknown, its kubelet does not report'),
    since: z.int().nullable().describe('Since when it is ready, or is not'),
    version: z.string().nullable().describe('Of its kubelet'),
    source: z.enum(['datastore', 'api', 'server']).describe('Read by this server, or told by one of the cluster’s'),
    seen_at: z.int().describe('Two minutes fine'),
    gone_at: z.int().nullable(),
  })
  .openapi('NodeSight')

export const Node = z
  .object({
    name: z.string(),
    serial: z.string().nullable(),
    role: z.string().nullable(),
    state: z.string().nullable().describe('The device’s'),
    observed: z.boolean().describe('False: the state is what the device reported'),
    stranger: z.boolean().describe('No device of the roll explains it'),
    enrolled: z.boolean().describe('False: a stranger, or the Node of a device whose enrollment ended'),
    node: NodeSight.nullable().describe('Null: the cluster never showed it'),
  })
  .openapi('ClusterNode')
const Tasks = z
  .object({
    waiting: z.int(),
    last_failure: z
      .object({ verb: z.string(), subject: z.string(), reason: z.string(), attempts: z.int(), at: z.int() })
      .nullable(),
  })
  .openapi('ClusterTasks')
const Finding = z
  .object({ severity: z.enum(['error', 'warning', 'note']), code: z.string(), text: z.string() })
  .openapi('Finding')
/** A cluster with its nodes, as every cluster route answers. */
export const Cluster = ClusterSummary.extend({
  datastore_findings: z
    .array(Finding)
    .optional()
    .describe('With `?check=true`, and of a managed one what is not well: what a look at its datastore found'),
  initializer: z
    .object({ serial: z.string(), until: z.int(), failure: z.string().nullable() })
    .nullable()
    .describe('Which server goes first, until when its turn lasts if it is not heard of, and why it fails, if it does'),
  tasks: Tasks.describe('What its servers still have to do for the roll; what failed is tried again'),
  nodes: z.array(Node).describe('Enrolled devices and Nodes by name, the first 1,000'),
  upgrade: Upgrade.nullable().describe('The upgrade that runs, or ran last'),
  warnings: z
    .array(z.string())
    .describe('What is known to go wrong with this version on this datastore, or with this upgrade'),
}).openapi('Cluster')

/** A cluster's name in a path. */
export const nameParam = z.object({ name: z.string().openapi({ example: 'site-a' }) })
