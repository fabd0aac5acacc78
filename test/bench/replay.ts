import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Line } from './line.ts'
import { cpuOf } from './process-cost.ts'

/** One connection: when it was made, on performance.now()'s clock, and all that was sent on it. */
export type Sent = { at: number; requests: readonly Buffer[] }

/**
 * The same connections with the same requests, as far apart, to a Node server that does nothing but answer them: the peer, since no server in Node can
 * cost less.
 * @param passes one after the other to one process, as they were
 * @returns milliseconds of CPU, a pass each
 */
export async function replay(passes: readonly (readonly Sent[])[]): Promise<number[]> {
  const bare = spawn(process.execPath, [fileURLToPath(new URL('bare.mjs', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  try {
    const port = await portOf(bare)
    // The real one has made its cluster and put its boxes on the roll, on one connection.
    const rehearsal = passes[0]?.flatMap(({ requests }) => requests).slice(0, 56) ?? []
    await resend([{ at: 0, requests: rehearsal }], port)
    const costs: number[] = []
    for (const sent of passes) {
      const before = cpuOf(bare.pid as number)
      await resend(sent, port)
      costs.push((cpuOf(bare.pid as number) - before) / 1_000)
    }
    return costs
  } finally {
    bare.stdin.end()
  }
}

async function portOf(bare: ChildProcessByStdio<Writable, Readable, null>): Promise<number> {
  const ended = once(bare, 'exit').then(() => [0])
  const [port] = await Promise.race([once(createInterface(bare.stdout), 'line'), ended])
  if (!port) throw new Error('the bare server did not start')
  return Number(port)
}

async function resend(sent: readonly Sent[], port: number): Promise<void> {
  const first = Math.min(...sent.map(({ at }) => at))
  await Promise.all(
    sent.map(async ({ at, requests }) => {
      await sleep(at - first)
      const line = new Line({ port, tls: true, fresh: false })
      await line.open()
      for (const request of requests) await line.request(request)
      line.close()
    }),
  )
}
