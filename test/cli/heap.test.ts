import { setTimeout as sleep } from 'node:timers/promises'
import { getHeapSpaceStatistics } from 'node:v8'
import * as assert from 'uvu/assert'
import { heapGrowth, keepHeapSmall } from '../../src/cli/heap.ts'
import { suite } from '../suite.ts'

const test = suite('how far the heap may grow')
const mb = 1_048_576

test('by the same share while it is small', () => {
  assert.equal([heapGrowth(20 * mb), heapGrowth(45 * mb)], [70, 70])
})

test('by the same amount once it is large, and never by nothing', () => {
  assert.equal([heapGrowth(64 * mb), heapGrowth(107 * mb), heapGrowth(1_000 * mb)], [50, 30, 20])
})

/** Allocates in so many turns. @returns MB of the young generation, both halves */
async function allocating(turns: number, between: () => Promise<unknown>): Promise<number> {
  let kept: object[] = []
  for (let turn = 0; turn < turns; turn++) {
    for (let n = 0; n < 10_000; n++) kept.push({ n, text: `x${n}` })
    if (kept.length > 50_000) kept = []
    await between()
  }
  return (getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_size ?? 0) / mb
}

test('hardly, where little is made, and to 32 MB of what was made just now where much is', async () => {
  keepHeapSmall()
  const before = await allocating(0, async () => {})
  assert.is(await allocating(5, () => sleep(700)), before)
  const busy = await allocating(600, () => new Promise(setImmediate))
  assert.ok(busy > before && busy <= 32, `${before} and ${busy}`)
})
