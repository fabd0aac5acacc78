import * as assert from 'uvu/assert'
import type { Bootstrap } from '../../src/datastore/managed.ts'
import { readApart } from '../../src/datastore/read-apart.ts'
import { AppError } from '../../src/errors.ts'
import { suite } from '../suite.ts'
import { type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'
import { type Cluster, type Clusters, kineTable, makeClusters } from './clusters.ts'

const test = suite('bootstrap rows of clusters in doubt', { timeout: 60_000 })
const virgin: Bootstrap = { state: 'virgin', value: undefined }

/** Reads that take as long as they are told, by a clock that they move. */
function reads() {
  let now = 0
  const begun: string[] = []
  const takes: Record<string, number | Error> = {}
  const read = readApart(
    async (cluster, _, apart) => {
      begun.push(`${cluster}${apart ? ' apart' : ''}`)
      const taken = takes[cluster] ?? 2
      if (taken instanceof Error) throw taken
      now += taken
      return virgin
    },
    () => now,
  )
  return {
    takes,
    ask: async (cluster: string) => {
      await read(cluster, 'token').catch(() => {})
      return begun.at(-1)
    },
    pass: (ms: number) => {
      now += ms
    },
  }
}

test('wait apart for ten minutes after a read that took long', async () => {
  const { ask, takes, pass } = reads()
  takes.slow = 501
  assert.is(await ask('slow'), 'slow')
  takes.slow = 2
  assert.is(await ask('slow'), 'slow apart')
  assert.is(await ask('other'), 'other')
  pass(599_000)
  assert.is(await ask('slow'), 'slow apart')
  pass(1_000)
  assert.is(await ask('slow'), 'slow')
})

test('wait apart after a table that was tampered with or is held, and not because Postgres is away', async () => {
  const { ask, takes } = reads()
  takes.tampered = new AppError('state_conflict')
  takes.held = new AppError('datastore_unavailable')
  takes.away = new Error('no answer')
  for (const cluster of ['tampered', 'held', 'away']) await ask(cluster)
  assert.is(await ask('tampered'), 'tampered apart')
  assert.is(await ask('held'), 'held apart')
  assert.is(await ask('away'), 'away')
})

test('are nobody else’s because of the time that they waited for', async () => {
  const { ask, takes } = reads()
  takes.slow = 3_000
  await Promise.all([ask('slow'), ask('other')])
  assert.is(await ask('other'), 'other')
})

let server: Throwaway
let clusters: Clusters

test.before(async () => {
  server = await throwawayPostgres(18)
  clusters = makeClusters(server)
})
test.after(async () => {
  await clusters?.close()
  await server?.stop()
})

test('do not hold up another cluster whose tables are known to be held', async () => {
  const [victim, ...hostile] = (await Promise.all(Array.from({ length: 6 }, () => clusters.add()))) as [
    Cluster,
    ...Cluster[],
  ]
  for (const { node } of [victim, ...hostile]) await node.unsafe(kineTable)
  /** Who was answered, in order. */
  let answered: Cluster[] = []
  const ask = async (one: Cluster) => {
    await clusters.managed.readBootstrap(one.id, 'f0'.repeat(32)).catch(() => {})
    answered.push(one)
  }
  await ask(victim)
  await Promise.all(hostile.map(({ node }) => node.unsafe('begin; lock table kine in access exclusive mode')))
  const place = async () => {
    answered = []
    await Promise.all([...hostile, victim].map(ask))
    return answered.indexOf(victim)
  }
  assert.is(await place(), hostile.length, 'while nobody knows them, it waits for each')
  assert.is(await place(), 0)
  await Promise.all(hostile.map(({ node }) => node.unsafe('rollback')))
})
