import type { Edge } from './http/edge.ts'
import type { Ready } from './http/ops/health.ts'
import { createMetrics } from './http/ops/metrics.ts'
import type { Context } from './services/context.ts'
import { isMigrated, readJournal } from './store/migrate.ts'

/** What running a server needs beside its use cases; both listeners share it. */
export type Operations = Edge & { ready: Ready }

/** Milliseconds after which a database that does not answer counts as away. */
const readyWithin = 2_000

/** @param draining true once the server is told to end */
export function operationsOf(
  { sql, log, now }: Pick<Context, 'sql' | 'log' | 'now'>,
  draining: () => boolean = () => false,
): Operations {
  const journal = readJournal()
  return {
    log,
    now,
    metrics: createMetrics(),
    draining,
    ready: shared(() => within(readyWithin, isMigrated(sql, journal))),
  }
}

/** Whoever asks while it runs gets its answer: nobody needs a token to ask, and claims need the database's connections. */
function shared<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined
  return () => {
    running ??= work().finally(() => {
      running = undefined
    })
    return running
  }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Error(`no answer within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
