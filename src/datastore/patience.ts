import { setTimeout as sleep } from 'node:timers/promises'

/** Milliseconds before the second try; each pause is twice as long as the one before. */
const first = 10

/**
 * Pauses between tries, until a time is up.
 * @param ms from now on
 * @returns a pause, which says whether to try again: once more when the time is up, and then no more
 */
export function patience(ms: number): () => Promise<boolean> {
  const until = performance.now() + ms
  let pause = first
  return async () => {
    const left = until - performance.now()
    if (left <= 0) return false
    await sleep(Math.min(pause, Math.ceil(left)))
    pause *= 2
    return true
  }
}
