import type { Context } from './context.ts'
import { clusterObserver } from './observe-clusters.ts'
import { type Running, startRounds } from './rounds.ts'

/** Milliseconds from the beginning of a pass to that of the next one, and after one that failed. */
const pause = { usual: 1_000, failed: 5_000 } as const

/**
 * Observes managed clusters until stopped. Never fails the process: while Postgres is away it tries again. On any number of servers
 * each cluster is looked at by one at a time.
 */
export function startObserver(context: Context): Running {
  const { managed } = context
  if (!managed) return { stop: async () => {} }
  const pass = clusterObserver(context, managed.observer)
  let failed = false
  const round = async (): Promise<number> => {
    const begun = performance.now()
    try {
      await managed.ready()
      const more = await pass()
      if (failed) context.log.info('clusters are observed again')
      failed = false
      return more ? 0 : Math.max(0, pause.usual - (performance.now() - begun))
    } catch (error) {
      const { code, message } = error as { code?: string; message: string }
      if (!failed) context.log.warn({ err: { code, message } }, 'clusters could not be observed')
      failed = true
      return pause.failed
    }
  }
  return startRounds(round)
}
