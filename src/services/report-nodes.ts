import type { SeenNode } from '../roll/sighting.ts'
import { lacksKubeconfig } from '../store/kubeconfig.ts'
import type { NodeHolder } from '../store/node-credentials.ts'
import { notePods } from '../store/nodes.ts'
import type { Context } from './context.ts'
import { learnCaHash } from './learn-ca-hash.ts'
import { bootstrapOfNew } from './managed-bootstrap.ts'
import { recordNodes } from './record-nodes.ts'
import { renewLease } from './renew-lease.ts'

/** What a server says of its cluster, all of it. */
export type NodesReport = {
  /** 64 hex digits */
  caHash: string
  nodes: readonly SeenNode[]
  podsNotRunning: number
}

/** Seconds after which a kubeconfig is asked for anew: K3s renews its certificate once a year. */
const kubeconfigAge = 30 * 86_400

/**
 * Takes in what a server tells of its own cluster, and of no other: its CA hash, Nodes and pods. Keeps the initializer's turn. On a managed
 * datastore K3s has Nodes only after its bootstrap row is ready: who tells of them before tells of something else, and keeps nobody waiting by it.
 * @returns what the server shall upload
 */
export async function reportNodes(
  context: Context,
  holder: NodeHolder,
  report: NodesReport,
): Promise<'kubeconfig' | undefined> {
  const { clusterId, deviceId, redeemed } = holder
  const bootstrap = await bootstrapOfNew(context, clusterId)
  // Whom the gate has not let in yet has no K3s whose CA it could know.
  if (redeemed) {
    if (bootstrap !== 'virgin') await renewLease(context, { clusterId, deviceId })
    await learnCaHash(context, { clusterId, caHash: report.caHash, from: { deviceId } })
  }
  if (bootstrap === 'virgin' || bootstrap === 'locked') return undefined
  await recordNodes(context, { clusterId, source: 'server', nodes: report.nodes, complete: true, teller: deviceId })
  await notePods(context.sql, clusterId, report.podsNotRunning)
  return (await lacksKubeconfig(context.sql, clusterId, context.now() - kubeconfigAge)) ? 'kubeconfig' : undefined
}
