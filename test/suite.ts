import { type Test, suite as uvuSuite } from 'uvu'

/** Milliseconds after which a single test, or a single hook, counts as failed. */
const limit = 30_000

type Context = Record<string, unknown>
type Body = (context: Context) => unknown

/** What the runner is told while a suite runs. uvu itself swallows what a hook throws and goes on to exit 0. */
export type SuiteEvent =
  | { kind: 'start'; title: string; timeout: number }
  | { kind: 'passed'; title: string }
  | { kind: 'hook-failed'; title: string; error: unknown }

/** A suite as the runner sees it: counts are final once the file was imported. */
export type Collected = {
  name: string
  tests: number
  only: number
  skipped: number
  run: () => void
}

const suites: Collected[] = []
let listener: (event: SuiteEvent) => void = () => {}

/** The suites that the imported files made; the runner starts them, so a forgotten `run()` cannot hide a test. */
export const collected: readonly Collected[] = suites

/** The runner listens; there is one listener. */
export function observe(next: (event: SuiteEvent) => void): void {
  listener = next
}

/**
 * A uvu suite that runs without `run()` and whose tests and hooks end after `timeout` ms.
 * `npm test` starts it; a file can also be run alone: `node test/run.mjs test/identity/nonce.test.ts`.
 */
export function suite(name: string, options: { timeout?: number } = {}): Test<Context> {
  const inner = uvuSuite<Context>(name)
  const timeout = options.timeout ?? limit
  const entry: Collected = { name, tests: 0, only: 0, skipped: 0, run: () => inner.run() }
  suites.push(entry)

  const test = (title: string, body: Body) => async (context: Context) => {
    await withLimit(title, timeout, () => body(context))
    listener({ kind: 'passed', title })
  }
  const hook = (kind: string, body: Body) => async (context: Context) => {
    const title = `${name}: ${kind} hook`
    try {
      await withLimit(title, timeout, () => body(context))
    } catch (error) {
      listener({ kind: 'hook-failed', title, error })
      throw error
    }
  }
  const hooks = (kind: 'before' | 'after') => {
    const once = (body: Body) => inner[kind](hook(kind, body) as never)
    return Object.assign(once, { each: (body: Body) => inner[kind].each(hook(`${kind}.each`, body) as never) })
  }

  const outer = (title: string, body: Body) => {
    entry.tests++
    inner(title, test(title, body) as never)
  }
  return Object.assign(outer, {
    only: (title: string, body: Body) => {
      entry.only++
      inner.only(title, test(title, body) as never)
    },
    skip: () => {
      entry.skipped++
    },
    before: hooks('before'),
    after: hooks('after'),
    run: () => {},
  }) as unknown as Test<Context>
}

async function withLimit(title: string, timeout: number, body: () => unknown): Promise<void> {
  listener({ kind: 'start', title, timeout })
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`"${title}" did not end within ${timeout} ms`)), timeout)
  })
  try {
    await Promise.race([body(), late])
  } finally {
    clearTimeout(timer)
  }
}
