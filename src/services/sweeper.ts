import type { Keep } from '../store/forget.ts'
import { sweep } from '../store/sweep.ts'
import type { Context } from './context.ts'
import { forgetHistory } from './forget-history.ts'

/** Seconds between passes; a busy server deletes about as many nonces a pass as it redeems meanwhile. */
const period = 20

/** Sweeps until stopped. Never fails the process: a database that is away is swept when it is back. */
export function startSweeper(context: Pick<Context, 'sql' | 'now' | 'log'>, keep: Keep): { stop: () => Promise<void> } {
  const { sql, now, log } = context
  let running: Promise<unknown> = Promise.resolve()
  const forget = forgetHistory(context, keep)
  const pass = () => {
    running = sweep(sql, now())
      .then(forget)
      .catch((error: Error) => log.debug({ err: { message: error.message } }, 'not swept'))
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
