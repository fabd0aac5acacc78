import { setTimeout as sleep } from 'node:timers/promises'

/** Milliseconds before the second try, each pause twice as long as the one before, and at most. */
const pauses = { first: 10, most: 100 } as const

/**
 * Pauses between tries, until a time is up.
 * @param ms from now on
 * @returns a pause, which says whether to try again: once more when the time is up, and then no more
 */
export function patience(ms: number): () => Promise<boolean> {
  const until = performance.now() + ms
  let pause: number = pauses.first
  return async () => {
    const left = until - performance.now()
    if (left <= 0) return false
    await sleep(Math.min(pause, Math.ceil(left)))
    pause = Math.min(2 * pause, pauses.most)
    return true
  }
}
