import { spawnSync } from 'node:child_process'
import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { environmentFile } from '../../src/k3s/environment.ts'
import { suite } from '../suite.ts'

const test = suite("K3s' environment as a file")

test('refuses names that are none, and values that a line cannot hold', () => {
  for (const env of [{ a: '1' }, { 'A=B': '1' }, { A: '1\nB="2"' }, { A: 'é' }, { A: '\0' }] as Record<
    string,
    string
  >[])
    assert.throws(() => environmentFile(env), JSON.stringify(env))
})

test('is no file without one', () => {
  assert.equal(environmentFile({}), [])
})

// systemd reads double quotes as a shell does (systemd.exec, EnvironmentFile).
test('reads back as it was, whatever printable text it holds', () => {
  const printable = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) })
  fc.assert(
    fc.property(printable, (value) => {
      const [file] = environmentFile({ KINE_A: value })
      const script = `${file?.content}printf '%s' "$KINE_A"\n`
      const { stdout } = spawnSync('sh', [], { input: script, encoding: 'utf8' })
      assert.is(stdout, value)
    }),
    { numRuns: 50 },
  )
})
