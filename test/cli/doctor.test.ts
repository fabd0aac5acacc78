import * as assert from 'uvu/assert'
import { rollcall } from '../rollcall.ts'
import { suite } from '../suite.ts'

const test = suite('rollcall doctor datastore')

for (const [what, args, words] of [
  ['another thing to look at', ['weather'], /doctor datastore/],
  ['neither a cluster nor a kind', ['datastore'], /--cluster or --kind/],
  [
    'a file that is not there',
    ['datastore', '--kind', 'postgres', '--cafile', '/nonexistent/ca.pem'],
    /^rollcall: --cafile: cannot read \/nonexistent\/ca\.pem/,
  ],
] as const) {
  test(`2: ${what}`, async () => {
    const ended = await rollcall(['doctor', ...args])
    assert.is(ended.code, 2)
    assert.match(ended.err, words)
  })
}
