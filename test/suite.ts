import { suite as uvuSuite, type Test } from 'uvu'

/** Milliseconds after which a single test counts as failed. */
const limit = 30_000

const suites: { run: () => void; name: string }[] = []

/** The suites that the imported files made; the runner starts them, so a forgotten `run()` cannot hide a test. */
export const collected: readonly { run: () => void; name: string }[] = suites

type Context = Record<string, unknown>
type Body = (context: Context) => unknown

/**
 * A uvu suite that runs without `run()` and whose tests end after `timeout` ms.
 * `test/run.mjs` starts it; a file can also be run alone: `node test/run.mjs test/identity/nonce.test.ts`.
 */
export function suite(name: string, options: { timeout?: number } = {}): Test<Context> {
  const inner = uvuSuite<Context>(name)
  const timeout = options.timeout ?? limit
  const timed = (title: string, body: Body) => async (context: Context) => {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`"${title}" did not end within ${timeout} ms`)), timeout)
    })
    try {
      await Promise.race([body(context), late])
    } finally {
      clearTimeout(timer)
    }
  }
  const outer = ((title: string, body: Body) => inner(title, timed(title, body) as never)) as unknown as Test<Context>
  outer.only = ((title: string, body: Body) => inner.only(title, timed(title, body) as never)) as never
  outer.skip = inner.skip
  outer.before = inner.before
  outer.before.each = inner.before.each
  outer.after = inner.after
  outer.after.each = inner.after.each
  outer.run = () => {}
  suites.push({ name, run: () => inner.run() })
  return outer
}
