import { setTimeout as sleep } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import * as assert from 'uvu/assert'
import { algorithms } from '../../src/identity/algorithm.ts'
import { parseClaim } from '../../src/identity/claim.ts'
import type { SignatureCheck } from '../../src/identity/verify.ts'
import { startThread } from '../../src/services/thread.ts'
import { verifier } from '../../src/services/verify-thread.ts'
import { newKey, signed } from '../identity/device-key.ts'
import { payload, published } from '../identity/spelling.ts'
import { suite } from '../suite.ts'

const test = suite('signatures of many claims')

const good: SignatureCheck[] = []
test.before(async () => {
  for (const alg of algorithms) good.push(await checkBy(alg))
})

async function checkBy(alg: (typeof algorithms)[number]): Promise<SignatureCheck> {
  const { keySource, signingInput, signature } = parseClaim(await signed(alg, await newKey(alg), payload))
  if (keySource.kind !== 'jwk') throw new Error('the claim brings its key')
  return { alg, jwk: keySource.jwk, signingInput, signature }
}

/** A verifier, the threads that it started, the rounds that they answered, and what it said. */
function watched(begin: () => Promise<Worker> = () => startThread('verify-worker', {})) {
  const seen = { threads: [] as Worker[], answered: 0, said: [] as string[] }
  const log = { warn: (_: unknown, text: string) => void seen.said.push(text) }
  const start = async () => {
    const worker = await begin()
    worker.on('message', () => seen.answered++)
    seen.threads.push(worker)
    return worker
  }
  const verify = verifier(log as never, start)
  const all = (checks: readonly SignatureCheck[]) => Promise.all(checks.map((check) => verify(check)))
  return { seen, verify, all }
}

async function running(begin?: () => Promise<Worker>) {
  const it = watched(begin)
  await it.all(good)
  for (let turns = 0; it.seen.threads.length === 0 && turns < 1_000; turns++) await sleep(10)
  return it
}

test('a forged one among true ones is the only one that fails, whoever checks it', async () => {
  const checks = good.map((check, i) => (i === 2 ? { ...check, signingInput: Buffer.from('another text') } : check))
  const verdicts = good.map((_, i) => i !== 2)
  const { seen, all } = await running()
  assert.is(seen.answered, 0)
  assert.equal(await all(checks), verdicts)
  assert.is(seen.answered, 1)
  assert.equal(await watched().all(checks), verdicts)
  await seen.threads[0]?.terminate()
})

test('a key that is none, one of another kind and a signature of another length fail alone', async () => {
  const [first, ...others] = good as [SignatureCheck, ...SignatureCheck[]]
  const bad: SignatureCheck[] = [
    { ...first, jwk: { ...published.ec, y: published.ec.x } as SignatureCheck['jwk'] },
    { ...first, jwk: others[1]?.jwk as SignatureCheck['jwk'] },
    { ...first, signature: first.signature.subarray(1) },
    { ...first, signature: new Uint8Array() },
  ]
  const { seen, all } = await running()
  assert.equal(await all([...bad, ...good]), [...bad.map(() => false), ...good.map(() => true)])
  assert.is(seen.answered, 1)
  await seen.threads[0]?.terminate()
})

test('a thread that cannot be started is said once, and they are checked without', async () => {
  const { seen, all } = watched(() => Promise.reject(new Error('no more threads')))
  for (let round = 0; round < 3; round++)
    assert.equal(
      await all(good),
      good.map(() => true),
    )
  assert.equal(seen.said, ['no thread to check signatures in: they are checked without'])
})

test('a thread that ends in the middle leaves none without a verdict, and another one follows', async () => {
  const { seen, all } = await running()
  const asked = all(good)
  setImmediate(() => void seen.threads[0]?.terminate())
  assert.equal(
    await asked,
    good.map(() => true),
  )
  await sleep(50)
  await all(good)
  for (let turns = 0; seen.threads.length < 2 && turns < 1_000; turns++) await sleep(10)
  assert.equal(
    await all(good),
    good.map(() => true),
  )
  assert.is(seen.threads.length, 2)
  await seen.threads[1]?.terminate()
})

test('one that comes alone starts no thread', async () => {
  const { seen, verify } = watched()
  for (const check of good) assert.is(await verify(check), true)
  await sleep(20)
  assert.equal(seen, { threads: [], answered: 0, said: [] })
})
