import { setTimeout as sleep } from 'node:timers/promises'
import type { Options, Sql } from 'postgres'

/** Milliseconds until a connection that was lost, or could not be made, is tried again. */
const pause = 1_000

/** A channel that is listened on until it is stopped. */
export type Listening = { stop: () => Promise<void> }

/**
 * Listens on a channel, over any number of lost connections; what is sent while there is none is missed.
 * Each connection has a client of its own: one of postgres.js 3.4.9 that was lost at a bad moment never connects again (lasting-client.ts).
 * @param ready called whenever listening begins
 */
export function listen(
  make: (options: Options<Record<string, never>>) => Sql,
  channel: string,
  hear: (payload: string) => void,
  ready: () => void = () => {},
): Listening {
  const stopped = new AbortController()
  const once = async () => {
    let lost: () => void = () => {}
    const closed = new Promise<void>((done) => {
      lost = done
    })
    stopped.signal.addEventListener('abort', lost)
    // `onnotify` is what postgres.js' own listen() is made of; its types leave it out.
    const onnotify = (_: string, payload: string) => hear(payload)
    const lasting = { max: 1, idle_timeout: null, max_lifetime: null, fetch_types: false }
    const client = make({ ...lasting, onclose: lost, onnotify } as unknown as Options<Record<string, never>>)
    try {
      await client.unsafe(`listen ${channel}`)
      ready()
      await closed
    } finally {
      stopped.signal.removeEventListener('abort', lost)
      await client.end({ timeout: 0 }).catch(() => {})
    }
  }
  const run = async () => {
    while (!stopped.signal.aborted) {
      await once().catch(() => {})
      await sleep(pause, undefined, { signal: stopped.signal, ref: false }).catch(() => {})
    }
  }
  const running = run()
  return {
    stop: async () => {
      stopped.abort()
      await running
    },
  }
}
