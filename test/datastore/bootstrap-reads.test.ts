import * as assert from 'uvu/assert'
import { bootstrapReads } from '../../src/datastore/bootstrap-reads.ts'
import type { Bootstrap } from '../../src/datastore/managed.ts'
import { AppError } from '../../src/errors.ts'
import { suite } from '../suite.ts'

const test = suite('reads of a bootstrap row')

type Begun = { cluster: string; token: string; answer: (bootstrap: Bootstrap) => void; fail: (error: Error) => void }

const begun: Begun[] = []
let ask: ReturnType<typeof bootstrapReads>
test.before.each(() => {
  begun.length = 0
  ask = bootstrapReads(
    (cluster, token) => new Promise((answer, fail) => void begun.push({ cluster, token, answer, fail })),
  )
})

const virgin: Bootstrap = { state: 'virgin', value: undefined }
const locked: Bootstrap = { state: 'locked', value: undefined }
const settled = () => new Promise((done) => setTimeout(done, 5))
const codeOf = (reading: Promise<unknown>) =>
  reading.then(
    () => 'read',
    (error: AppError) => error.code,
  )

test('a failure is told to who asked, and the next question is asked at once', async () => {
  const first = codeOf(ask('clu_1', 'token'))
  begun[0]?.fail(new AppError('datastore_unavailable'))
  assert.is(await first, 'datastore_unavailable')
  await settled()
  void ask('clu_1', 'token')
  assert.is(begun.length, 2)
})

test('fifty servers of one cluster make two reads, and the later forty-nine get one that began after they asked', async () => {
  const all = Array.from({ length: 50 }, () => ask('clu_1', 'token'))
  await settled()
  assert.is(begun.length, 1)
  begun[0]?.answer(virgin)
  assert.equal(await all[0], virgin)
  await settled()
  assert.is(begun.length, 2)
  begun[1]?.answer(locked)
  assert.equal(new Set(await Promise.all(all.slice(1))), new Set([locked]))
  await settled()
  void ask('clu_1', 'token')
  assert.is(begun.length, 3)
})

test('who waits is not answered by the failure of the read before', async () => {
  const first = codeOf(ask('clu_1', 'token'))
  const second = ask('clu_1', 'token')
  begun[0]?.fail(new AppError('state_conflict'))
  assert.is(await first, 'state_conflict')
  await settled()
  begun[1]?.answer(virgin)
  assert.equal(await second, virgin)
})

test('clusters do not wait for each other, nor a new server token for what is read with the old one', () => {
  void ask('clu_1', 'token')
  void ask('clu_2', 'token')
  void ask('clu_1', 'rotated')
  assert.equal(
    begun.map(({ cluster, token }) => `${cluster} ${token}`),
    ['clu_1 token', 'clu_2 token', 'clu_1 rotated'],
  )
})

test.run()
