import { setTimeout as sleep } from 'node:timers/promises'
import { cleanTokens } from './auth.ts'
import { merge } from './merge.ts'
import type { Json } from './objects.ts'
import { leases, nodes } from './resources.ts'
import type { ObjectStore } from './store.ts'

/** Milliseconds without a renewed lease after which a Node's conditions are Unknown (node-monitor-grace-period). */
const grace = 40_000

/** The controller manager's part in a Node's life and a token's death, until `signal`. `failed` hears of a datastore that does not answer. */
export async function runControllers(
  store: ObjectStore,
  signal: AbortSignal,
  failed: (error: Error | undefined) => void,
): Promise<void> {
  while (!signal.aborted) {
    await monitor(store)
      .then(() => cleanTokens(store))
      .then(() => failed(undefined), failed)
    await sleep(5_000, undefined, { ref: false, signal }).catch(() => {})
  }
}

async function monitor(store: ObjectStore): Promise<void> {
  const all = await store.list(leases, 'kube-node-lease')
  const renewed = new Map(all.map(({ metadata, spec }) => [metadata.name, Date.parse(spec.renewTime)]))
  for (const { metadata, status } of await store.list(nodes)) {
    const signs = [renewed.get(metadata.name), metadata.creationTimestamp, readyOf(status)?.lastHeartbeatTime]
    const last = Math.max(...signs.map((sign) => (typeof sign === 'number' ? sign : Date.parse(sign ?? '') || 0)))
    if (Date.now() - last < grace || readyOf(status)?.status === 'Unknown') continue
    const now = new Date().toISOString()
    const conditions = ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready'].map((type) => ({
      type,
      status: 'Unknown',
      lastTransitionTime: now,
      reason: 'NodeStatusUnknown',
      message: 'Kubelet stopped posting node status.',
    }))
    await store.change(nodes, metadata.name, undefined, (node) => merge(node, { status: { conditions } }) as Json)
  }
}

type Condition = { type: string; status: string; lastHeartbeatTime?: string }

const readyOf = (status?: { conditions?: Condition[] }) => status?.conditions?.find(({ type }) => type === 'Ready')
