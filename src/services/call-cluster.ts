import type { AccessCluster } from '../store/access.ts'
import { touchClusters } from '../store/nodes.ts'
import { noteTrouble } from '../store/observations.ts'
import { runAccessTasks } from './access-tasks.ts'
import { listNodes } from './cluster-api.ts'
import { accessOf } from './cluster-view.ts'
import type { Context } from './context.ts'
import { type KubeClient, KubeError, kubeClient } from './kube-client.ts'
import { recordNodes } from './record-nodes.ts'

/** Seconds between two looks at a cluster's Nodes: what the roll shows is 30 s old at most. */
const lookEvery = 25

/** What a process remembers of a cluster that it calls. */
export type AccessMemory = {
  /** Turns that came to nothing, one after the other */
  failures: number
  /** Unix seconds */
  lookedAt: number
}

/**
 * One turn of a cluster that is reached by its API: its Nodes, if it is time, then its tasks. A cluster that was away is looked at first,
 * so that no task is taken for one that is still away. What keeps it from being called is kept for the admin.
 * @param signal ends the turn
 */
export async function callCluster(
  context: Context,
  cluster: AccessCluster,
  memory: AccessMemory,
  signal: AbortSignal,
): Promise<void> {
  const now = context.now()
  const kube = kubeClient(accessOf(cluster.id, cluster.access_sealed, context.vault), signal)
  const isTime = now - Math.max(cluster.observed_at ?? 0, memory.lookedAt) >= lookEvery
  try {
    const trouble = isTime || memory.failures > 0 ? await readNodes(context, kube, cluster) : cluster.observe_trouble
    if (isTime) memory.lookedAt = now
    await runAccessTasks(context, kube, cluster.id)
    memory.failures = 0
    await note(context, cluster, trouble)
  } catch (error) {
    if (!(error instanceof KubeError)) throw error
    // It was we who broke off: nothing is known of the cluster.
    if (signal.aborted) return
    memory.failures++
    await note(context, cluster, `its API cannot be used: ${error.message}`)
  } finally {
    kube.close()
  }
}

/** @returns what keeps its Nodes from being seen though it answers, or null */
async function readNodes(context: Context, kube: KubeClient, { id }: AccessCluster): Promise<string | null> {
  try {
    const seen = await listNodes(kube)
    await recordNodes(context, { clusterId: id, source: 'api', ...seen })
    await touchClusters(context.sql, [id], context.now())
    return seen.complete ? null : 'it has more Nodes than are looked at'
  } catch (error) {
    if (!(error instanceof KubeError) || error.kind === 'away') throw error
    return `its Nodes cannot be read: ${error.message}`
  }
}

async function note(context: Context, cluster: AccessCluster, trouble: string | null): Promise<void> {
  if (trouble === cluster.observe_trouble) return
  const isNew = await context.db.transaction((tx) => noteTrouble(tx, cluster, trouble, context.now(), undefined))
  if (isNew) context.log.warn({ cluster: cluster.id, trouble }, 'what keeps a cluster from being read has changed')
}
