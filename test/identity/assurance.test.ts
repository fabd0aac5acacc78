import * as assert from 'uvu/assert'
import { meets } from '../../src/identity/assurance.ts'
import { suite } from '../suite.ts'

const test = suite('assurance')

test('each proof meets itself and what is weaker, nothing stronger', () => {
  const order = ['network', 'bearer', 'key', 'hardware'] as const
  const met = order.map((proved) => order.filter((minimum) => meets(proved, minimum)))
  assert.equal(met, [['network'], ['network', 'bearer'], ['network', 'bearer', 'key'], [...order]])
})
