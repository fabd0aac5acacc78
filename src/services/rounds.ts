import { setTimeout as sleep } from 'node:timers/promises'

/** What runs until it is stopped; `stop` waits for the round under way. */
export type Running = { stop: () => Promise<void> }

/**
 * Does something again and again, without keeping the process.
 * @param round never throws; aborted when this is to stop. Returns the milliseconds until the next one
 * @param end what is still to be waited for
 */
export function startRounds(round: (signal: AbortSignal) => Promise<number>, end?: () => Promise<unknown>): Running {
  const over = new AbortController()
  const running = (async () => {
    while (!over.signal.aborted) {
      const ms = await round(over.signal)
      await sleep(ms, undefined, { signal: over.signal, ref: false }).catch(() => {})
    }
    await end?.()
  })()
  return {
    stop: async () => {
      over.abort()
      await running
    },
  }
}
