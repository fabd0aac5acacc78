import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { type FileResult, killRunning, runFile } from './file.ts'
import { findTests, isAlone } from './find.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** One more than there are cores: the tests of the boxes' scripts wait more than they compute. */
const atOnce = availableParallelism() + 1

/**
 * Runs the named test files or folders, all of `test/` without any, and prints one line a file, failures in full, and the sum.
 * @returns the exit code: 0 only if every test of every file ran and passed
 */
export async function main(names: readonly string[]): Promise<number> {
  process.chdir(root)
  const results: FileResult[] = []
  try {
    const files = findTests(root, names)
    if (files.length === 0) throw new Error('no test file found')
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop(signal))
    const options = { env: process.env, refuseOnly: Boolean(process.env.CI) }
    const run = async (left: string[]) => {
      for (let file = left.shift(); file; file = left.shift()) results.push(report(await runFile(file, options)))
    }
    const together = files.filter((file) => !isAlone(file))
    await Promise.all(Array.from({ length: atOnce }, () => run(together)))
    await run(files.filter(isAlone))
  } catch (error) {
    console.log(error instanceof Error ? error.message : error)
    return sum(results, 1)
  }
  return sum(results, 0)
}

function report(result: FileResult): FileResult {
  const { file, passed, failed, skipped, seconds } = result
  const counts = `${passed} passed${failed ? `, ${failed} failed` : ''}${skipped ? `, ${skipped} skipped` : ''}`
  console.log(`${failed ? 'FAIL' : 'ok  '} ${file}: ${counts} (${seconds.toFixed(1)} s)`)
  // What was left out here is said aloud, though nothing failed.
  for (const [line] of result.output.matchAll(/^skipped: .+$/gm)) console.log(line)
  if (failed) {
    if (result.output.trim()) console.log(result.output.trimEnd().replace(/^/gm, '     '))
    for (const problem of result.problems) console.log(`     ${file} ${problem}`)
  }
  return result
}

function sum(results: readonly FileResult[], further: number): number {
  const add = (key: 'passed' | 'failed' | 'skipped') => results.reduce((n, r) => n + r[key], 0)
  const bad = results.filter((r) => r.failed).map((r) => r.file)
  if (bad.length > 0) console.log(`\nfailed: ${bad.join(' ')}`)
  if (add('skipped') > 0) console.log(`\n${add('skipped')} skipped`)
  const failed = add('failed') + further
  console.log(`\n${add('passed')} passed, ${failed} failed`)
  return failed ? 1 : 0
}

function stop(signal: NodeJS.Signals): void {
  killRunning()
  console.log(`stopped by ${signal}`)
  process.exit(1)
}
