import * as assert from 'uvu/assert'
import { usageText } from '../../src/cli/usage.ts'
import { rollcall } from '../rollcall.ts'
import { suite } from '../suite.ts'

const test = suite('how commands are called')

test('a long form is wrapped between its words, not inside of brackets', () => {
  const flags = Array.from({ length: 12 }, (_, n) => `[--flag-${n} VALUE]`)
  const lines = usageText(['short', `long ${flags.join(' ')}`]).split('\n')
  assert.equal(lines.slice(0, 2), ['usage:', '  rollcall short'])
  assert.ok(lines.length === 5 && lines.slice(3).every((line) => line.startsWith('      [--flag-')))
  assert.is(
    lines
      .slice(2)
      .map((line) => line.trim())
      .join(' '),
    `rollcall long ${flags.join(' ')}`,
  )
})

test('help fits into 100 columns, of all commands and of one', async () => {
  for (const args of [['--help'], ['mirror', '--help'], ['doctor', 'datastore', '--help']]) {
    const { code, out } = await rollcall(args)
    assert.is(code, 0)
    assert.match(out, /^usage:\n {2}rollcall /)
    for (const line of out.split('\n')) assert.ok(line.length <= 100, line)
  }
})
