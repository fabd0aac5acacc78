import { setTimeout as sleep } from 'node:timers/promises'

/** One thing that is seen to be so. `keep` names files that are kept when it fails. */
export type Case = { name: string; run: (keep: (file: string) => void) => Promise<void> }

export type Result = { name: string; seconds: number; error?: unknown; files: string[] }

/** Runs cases, a few at a time; the answer has all of them, in order. */
export async function runCases(
  cases: readonly Case[],
  width: number,
  done: (result: Result) => void,
): Promise<Result[]> {
  const results: Result[] = new Array(cases.length)
  let next = 0
  const worker = async () => {
    while (next < cases.length) {
      const at = next++
      results[at] = await runCase(cases[at] as Case)
      done(results[at] as Result)
    }
  }
  await Promise.all(Array.from({ length: width }, worker))
  return results
}

async function runCase({ name, run }: Case): Promise<Result> {
  const files: string[] = []
  const start = performance.now()
  const result = (error?: unknown) => ({
    name,
    seconds: (performance.now() - start) / 1000,
    files,
    ...(error ? { error } : {}),
  })
  try {
    await run((file) => files.push(file))
    return result()
  } catch (error) {
    return result(error ?? new Error('failed'))
  }
}

/** Polls until `check` gives something true; says what it waited for when it does not come. */
export async function until<T>(
  what: string,
  check: () => Promise<T> | T,
  { seconds = 240, every = 50 }: { seconds?: number; every?: number } = {},
): Promise<NonNullable<T>> {
  const end = performance.now() + seconds * 1000
  for (;;) {
    const seen = await check()
    if (seen) return seen
    if (performance.now() > end) throw new Error(`not seen within ${seconds} s: ${what}`)
    await sleep(every)
  }
}
