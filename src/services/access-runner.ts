import { takeAccessClusters } from '../store/access.ts'
import { lookAgainAt } from '../store/observations.ts'
import { type AccessMemory, callCluster } from './call-cluster.ts'
import type { Context } from './context.ts'
import { type Running, startRounds } from './rounds.ts'

/** Milliseconds between passes, and after one that failed. */
const pause = { usual: 1_000, failed: 5_000 } as const
/** Seconds between two turns of a cluster: at first, and at most while it is away. */
const turn = { usual: 5, most: 300 } as const
/** Seconds that a turn may take, and after which another server takes the cluster of one that died. */
const hold = { run: 50, died: 60 } as const
/** Clusters that are called at a time. */
const together = 32

/**
 * Calls the APIs of clusters that Rollcall did not make, until stopped: runs their tasks and reads their Nodes. Never fails the
 * process. On any number of servers each cluster is called by one at a time, and one that is away keeps no other waiting.
 */
export function startAccessRunner(context: Context): Running {
  const memories = new Map<string, AccessMemory>()
  const running = new Set<Promise<void>>()
  let failed = false
  const round = async (signal: AbortSignal): Promise<number> => {
    try {
      const due = await takeAccessClusters(context.sql, context.now(), hold.died, together - running.size)
      for (const cluster of due) {
        const memory = memories.get(cluster.id) ?? { failures: 0, lookedAt: 0 }
        memories.set(cluster.id, memory)
        const run = callOnce(context, cluster, memory, signal).finally(() => running.delete(run))
        running.add(run)
      }
      failed = false
      return pause.usual
    } catch (error) {
      const { code, message } = error as { code?: string; message: string }
      if (!failed) context.log.warn({ err: { code, message } }, 'clusters with access could not be called')
      failed = true
      return pause.failed
    }
  }
  return startRounds(round, () => Promise.all(running))
}

async function callOnce(
  context: Context,
  cluster: Parameters<typeof callCluster>[1],
  memory: AccessMemory,
  end: AbortSignal,
): Promise<void> {
  const signal = AbortSignal.any([end, AbortSignal.timeout(hold.run * 1000)])
  try {
    await callCluster(context, cluster, memory, signal)
    const seconds = Math.min(turn.usual * 2 ** Math.min(memory.failures, 10), turn.most)
    await lookAgainAt(context.sql, cluster.id, context.now() + seconds)
  } catch (error) {
    // Ours is the trouble: it stays taken for the rest of its time.
    const { code, message } = error as { code?: string; message: string }
    context.log.warn({ err: { code, message }, cluster: cluster.id }, 'a cluster with access could not be called')
  }
}
