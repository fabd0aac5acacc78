import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { suite } from '../suite.ts'
import { patience, runFile } from './file.ts'

const fixture = (name: string) => `test/runner/fixtures/${name}.test.ts`

/** Fixture → passed, failed, and what is said of it. */
const traps: Record<string, [passed: number, failed: number, says: RegExp]> = {
  fails: [1, 1, /is wrong[\s\S]*answer/],
  'before-throws': [0, 2, /before throws: before hook\s+Error: no database here/],
  'after-throws': [1, 1, /cannot clean up/],
  'after-each-throws': [1, 1, /cannot reset/],
  'no-test': [0, 1, /holds no test/],
  'raw-uvu': [0, 1, /import { suite } from test\/suite\.ts/],
  'raw-uvu-not-run': [0, 1, /holds no test/],
  'stays-alive': [1, 1, /stays alive after its tests \(open: .*TCPServerWrap/],
  'leaves-process': [1, 1, /left a process behind/],
  'exits-early': [0, 1, /ended before its tests did \(exit code 0\)/],
  'crashes-late': [1, 1, /nobody waits for me[\s\S]*crashed after its tests/],
  'does-not-load': [0, 1, /cannot load/],
  'never-ends': [1, 1, /"waits for ever" did not end within 200 ms/],
  spins: [0, 1, /"lets no timer fire" hangs the process/],
  only: [1, 1, /holds an \.only/],
}

const test = suite('the test runner', { timeout: 60_000 })

for (const [name, [passed, failed, says]] of Object.entries(traps)) {
  test(`fails on ${name}`, async () => {
    const wait = { ...patience, late: 1_000, grace: 1_500 }
    const result = await runFile(fixture(name), { env: process.env, refuseOnly: true, wait })
    assert.equal([result.passed, result.failed], [passed, failed], result.output)
    assert.match([result.output, ...result.problems].join('\n'), says)
  })
}

const run = (...names: string[]) => {
  const { CI: _, ...env } = process.env
  const runner = fileURLToPath(new URL('../run.mjs', import.meta.url))
  const { status, stdout } = spawnSync(process.execPath, [runner, ...names], { env, encoding: 'utf8' })
  return { status, stdout, sum: stdout.trimEnd().split('\n').at(-1) }
}

test('fails where nothing is found', () => {
  for (const path of ['test/no/such.test.ts', 'test/golden']) {
    const result = run(path)
    assert.is(result.status, 1)
    assert.is(result.sum, '0 passed, 1 failed')
  }
})

test('adds up all files, names the bad ones and exits 1', () => {
  const result = run(fixture('passes'), fixture('fails'))
  assert.is(result.status, 1)
  assert.match(result.stdout, /^failed: test\/runner\/fixtures\/fails\.test\.ts\n\n3 passed, 1 failed\n$/m)
})

test('passes with a line for the file and one for the sum', () => {
  const result = run(fixture('passes'))
  assert.is(result.status, 0)
  assert.match(
    result.stdout,
    /^ok {3}test\/runner\/fixtures\/passes\.test\.ts: 2 passed \(\d+\.\d s\)\n\n2 passed, 0 failed\n$/,
  )
})

test('says what was skipped, and what .only hides outside CI', () => {
  const result = run(fixture('skips'), fixture('only'))
  assert.is(result.status, 0)
  assert.match(result.stdout, /2 skipped\n\n2 passed, 0 failed\n$/)
})

test('knows every fixture here', () => {
  const files = readdirSync(new URL('fixtures', import.meta.url)).map((f) => f.replace('.test.ts', ''))
  assert.equal(files.sort(), [...Object.keys(traps), 'passes', 'skips'].sort())
})
