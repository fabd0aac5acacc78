import { forget, type Keep } from '../store/forget.ts'
import { sweep } from '../store/sweep.ts'
import type { Context } from './context.ts'

/** Seconds between passes; a busy server deletes about as many nonces a pass as it redeems meanwhile. */
const period = 20

/** Sweeps until stopped. Never fails the process: a database that is away is swept when it is back. */
export function startSweeper(
  { sql, now, log }: Pick<Context, 'sql' | 'now' | 'log'>,
  keep: Keep,
): { stop: () => Promise<void> } {
  let running: Promise<unknown> = Promise.resolve()
  let after = ''
  const sweepOnce = async () => {
    await sweep(sql, now())
    after = (await forget(sql, now(), keep, after)).after
  }
  const pass = () => {
    running = sweepOnce().catch((error: Error) => log.debug({ err: { message: error.message } }, 'not swept'))
  }
  const timer = setInterval(pass, period * 1000)
  timer.unref()
  return {
    stop: async () => {
      clearInterval(timer)
      await running
    },
  }
}
