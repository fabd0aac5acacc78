import * as assert from 'uvu/assert'
import { heapGrowth } from '../../src/cli/heap.ts'
import { suite } from '../suite.ts'

const test = suite('how far the heap may grow')
const mb = 1_048_576

test('by the same share while it is small', () => {
  assert.equal([heapGrowth(20 * mb), heapGrowth(45 * mb)], [70, 70])
})

test('by the same amount once it is large, and never by nothing', () => {
  assert.equal([heapGrowth(64 * mb), heapGrowth(107 * mb), heapGrowth(1_000 * mb)], [50, 30, 20])
})
