import { dropEndedLogins, type EndDeps } from './end-logins.ts'

/** Seconds between passes. */
const period = 20

/** Drops the logins of ended enrollments until stopped. Never fails the process: what could not be dropped is tried again. */
export function startLoginSweeper(context: EndDeps): { stop: () => Promise<void> } {
  let running: Promise<unknown> = Promise.resolve()
  let busy = false
  const pass = () => {
    if (busy) return
    busy = true
    running = dropEndedLogins(context)
      .catch((error: Error) => context.log.debug({ err: { message: error.message } }, 'logins were not swept'))
      .finally(() => {
        busy = false
      })
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
