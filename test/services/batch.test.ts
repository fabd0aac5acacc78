import * as assert from 'uvu/assert'
import { batcher } from '../../src/services/batch.ts'
import { suite } from '../suite.ts'

const test = suite('batch')
const isolate = () => true
const turn = () => new Promise((done) => setTimeout(done, 5))

const doubling = (runs: number[][]) => async (items: readonly number[]) => {
  runs.push([...items])
  await new Promise((r) => setTimeout(r, 5))
  if (items.includes(13)) throw new Error('unlucky')
  return items.map((n) => n * 2)
}

test('one bad item fails alone, its neighbours get their own results', async () => {
  const runs: number[][] = []
  const call = batcher({ max: 64, inFlight: 1, run: doubling(runs), isolate })
  const results = await Promise.allSettled([1, 13, 3].map(call))
  assert.equal(
    results.map((r) => (r.status === 'fulfilled' ? r.value : r.reason.message)),
    [2, 'unlucky', 6],
  )
  assert.equal(runs, [[1, 13, 3], [1], [13], [3]])
})

test('calls of one turn share a run, later ones gather while runs are in flight', async () => {
  const runs: number[][] = []
  const call = batcher({ max: 3, inFlight: 1, run: doubling(runs), isolate })
  const results = await Promise.all([1, 2, 3, 4, 5].map(call))
  assert.equal(results, [2, 4, 6, 8, 10])
  assert.equal(runs, [
    [1, 2, 3],
    [4, 5],
  ])
})

test('runs that must be apart leave a lone call alone, and gather what comes meanwhile', async () => {
  const starts: number[] = []
  const runs: number[][] = []
  const run = (items: readonly number[]) => {
    starts.push(performance.now())
    runs.push([...items])
    return Promise.resolve(items.map((n) => n * 2))
  }
  const call = batcher({ max: 8, inFlight: 2, apart: 200, run, isolate })
  const lone = call(1)
  await new Promise(setImmediate)
  assert.equal(runs, [[1]], 'nothing ran before it')
  assert.is(await lone, 2)
  assert.equal(await Promise.all([call(2), turn().then(() => call(3)), turn().then(() => call(4))]), [4, 6, 8])
  assert.equal(runs, [[1], [2, 3, 4]])
  // Timers may fire a fraction early.
  assert.ok((starts[1] as number) - (starts[0] as number) > 198)
})

test('two items with one key never share a run', async () => {
  const runs: number[][] = []
  const call = batcher({ max: 8, inFlight: 1, run: doubling(runs), isolate, key: (n) => String(n % 2) })
  assert.equal(await Promise.all([1, 2, 3, 4, 5].map(call)), [2, 4, 6, 8, 10])
  assert.equal(runs, [[1, 2], [3, 4], [5]])
})

test('a failure that no item is to blame for fails the run at once', async () => {
  let runs = 0
  const run = async () => {
    runs++
    throw new Error('no database')
  }
  const call = batcher<number, number>({ max: 8, inFlight: 1, run, isolate: () => false })
  const results = await Promise.allSettled([1, 2, 3].map(call))
  assert.is(runs, 1)
  assert.ok(results.every((r) => r.status === 'rejected'))
})
