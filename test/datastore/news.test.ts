import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import postgres from 'postgres'
import * as assert from 'uvu/assert'
import { noMemory } from '../../src/datastore/cluster-memory.ts'
import { look } from '../../src/datastore/observe.ts'
import type { Observer } from '../../src/datastore/observer.ts'
import { bootstrapName } from '../../src/k3s/bootstrap.ts'
import { suite } from '../suite.ts'
import { type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'
import { type Cluster, type Clusters, kineTable, makeClusters } from './clusters.ts'
import { deleteNode, put, putNode, renewLease, values } from './kine-rows.ts'

const test = suite('news of a cluster', { timeout: 60_000 })
const token = 'f0'.repeat(32)
const first = 1_795_398_300
const period = 27
let server: Throwaway
let clusters: Clusters
let cluster: Cluster

test.before(async () => {
  server = await throwawayPostgres(18)
  clusters = makeClusters(server)
})
test.before.each(async () => {
  cluster = await clusters.add()
  await cluster.node.unsafe(kineTable)
})
test.after(async () => {
  await clusters?.close()
  await server?.stop()
})

/** One who looks every 27 s, and what each of his looks read. */
function watcher() {
  const memory = noMemory()
  let now = first - period
  let reads: ('list' | 'news')[] = []
  const { observer: real } = clusters.managed
  const count = (statement: string) => reads.push(statement.includes('with recursive') ? 'list' : 'news')
  const observer: Observer = {
    ...real,
    run: (statement) => {
      count(statement)
      return real.run(statement)
    },
    runAll: (statements) => {
      statements.forEach(count)
      return real.runAll(statements)
    },
  }
  const again = async (after = period) => {
    now += after
    reads = []
    const looked = await look(observer, cluster.id, token, memory, now)
    if (looked.kind !== 'seen') throw new Error(looked.what)
    const nodes = looked.nodes.map(({ name, ready }) => `${name}=${ready}`)
    return {
      nodes,
      reads,
      now,
      seenAt: looked.nodes.map(({ seenAt }) => seenAt),
      ...{ complete: looked.complete },
      bootstrap: looked.bootstrap,
    }
  }
  /** From the third look on, news are enough. */
  const settled = async () => {
    await again()
    await again()
    assert.equal((await again()).reads, ['news'])
  }
  return { again, settled }
}

test('show a Node that came, one that changed and one that went', async () => {
  await putNode(cluster.node, 'b', 'notReady')
  await putNode(cluster.node, 'c', 'ready')
  const { again, settled } = watcher()
  await settled()
  await putNode(cluster.node, 'a', 'unknown')
  await putNode(cluster.node, 'b', 'unknown')
  await putNode(cluster.node, 'b', 'ready')
  await deleteNode(cluster.node, 'c')
  await put(cluster.node, '/registry/minionsx', values.ready)
  const { nodes, reads } = await again()
  assert.equal(nodes, ['a=null', 'b=true'])
  assert.equal(reads, ['news'])
  await putNode(cluster.node, 'c', 'ready')
  assert.equal((await again()).nodes, ['a=null', 'b=true', 'c=true'])
})

test('show signs of life, and that there are none any more', async () => {
  await putNode(cluster.node, 'a', 'ready')
  await renewLease(cluster.node, 'a')
  const { again, settled } = watcher()
  await settled()
  await renewLease(cluster.node, 'a')
  const alive = await again()
  assert.equal(alive.seenAt, [alive.now])
  for (let n = 0; n < 4; n++) assert.equal((await again()).seenAt, [alive.now])
  const silent = await again()
  assert.equal([silent.nodes, silent.reads], [['a=null'], ['news']])
  await renewLease(cluster.node, 'a')
  assert.equal((await again()).nodes, ['a=true'])
})

test('bring a new bootstrap value along once', async () => {
  const key = bootstrapName(token)
  await put(cluster.node, key, Buffer.from('value'))
  const { again, settled } = watcher()
  await settled()
  assert.equal((await again()).bootstrap, { state: 'ready', value: undefined })
  await put(cluster.node, `${key}0`, Buffer.from('of somebody else'))
  await put(cluster.node, key, Buffer.from('other'))
  const { bootstrap, reads } = await again()
  assert.equal([bootstrap, reads], [{ state: 'ready', value: Buffer.from('other') }, ['news']])
  assert.equal((await again()).bootstrap, { state: 'ready', value: undefined })
  await put(cluster.node, key, Buffer.from('other'), 1)
  assert.equal((await again()).bootstrap, { state: 'virgin', value: undefined })
})

test('miss no row that was committed a look late, behind one with a higher id', async () => {
  await putNode(cluster.node, 'a', 'ready')
  const { again, settled } = watcher()
  await settled()
  const slow = postgres(cluster.url, { max: 1, fetch_types: false })
  const release: (() => void)[] = []
  const ready = new Promise<void>((done) => release.push(done))
  const writing = slow.begin(async (tx) => {
    await putNode(tx as never, 'slow', 'ready')
    await ready
  })
  await sleep(200)
  await putNode(cluster.node, 'fast', 'ready')
  assert.equal((await again()).nodes, ['a=true', 'fast=true'])
  release[0]?.()
  await writing
  await slow.end()
  const { nodes, reads } = await again()
  assert.equal([nodes, reads], [['a=true', 'fast=true', 'slow=true'], ['news']])
})

test('are not enough where the last row that was seen is gone: another table is there, or a backup of this one', async () => {
  for (const name of ['a', 'b', 'c']) await putNode(cluster.node, name, 'ready')
  const { again, settled } = watcher()
  await settled()
  await cluster.node.unsafe(`drop table kine; ${kineTable}`)
  await putNode(cluster.node, 'z', 'ready')
  const { nodes, reads } = await again()
  assert.equal([nodes, reads], [['z=true'], ['news', 'list']])
  await cluster.node.unsafe('drop table kine')
  assert.equal((await again()).nodes, [])
})

test('are not enough where there are more than one look takes', async () => {
  await putNode(cluster.node, 'a', 'ready')
  const { again, settled } = watcher()
  await settled()
  for (let n = 0; n < 130; n++) await renewLease(cluster.node, 'a')
  await putNode(cluster.node, 'b', 'ready')
  const { nodes, reads } = await again()
  assert.equal(
    [nodes, reads],
    [
      ['a=true', 'b=true'],
      ['news', 'list'],
    ],
  )
})

test('are not enough for a Node that is too large for them', async () => {
  await putNode(cluster.node, 'a', 'notReady')
  const { again, settled } = watcher()
  await settled()
  await put(cluster.node, '/registry/minions/a', Buffer.concat([values.ready, Buffer.alloc(40_000)]))
  const { complete, reads } = await again()
  assert.equal([complete, reads], [false, ['news']])
  const next = await again(1)
  assert.equal([next.complete, next.nodes, next.reads], [true, ['a=true'], ['list']])
})

test('are not enough every few minutes, for what came later than anything should', async () => {
  await putNode(cluster.node, 'a', 'ready')
  const { again, settled } = watcher()
  await cluster.node.unsafe("select setval('kine_id_seq', 1000)")
  await putNode(cluster.node, 'b', 'ready')
  await settled()
  await cluster.node.unsafe(
    `insert into kine (id, name, created, deleted, value) values (500, '/registry/minions/late', 1, 0, null)`,
  )
  const reads: string[] = []
  for (let n = 0; n < 14; n++) reads.push(...(await again()).reads)
  assert.ok(reads.filter((one) => one === 'list').length === 1, reads.join())
  assert.equal((await again()).nodes, ['a=true', 'b=true', 'late=null'])
})

test('are not enough after a look that came to nothing', async () => {
  await putNode(cluster.node, 'a', 'ready')
  const { again, settled } = watcher()
  await settled()
  await cluster.node.unsafe('alter table kine add more text')
  const refused = await again().catch(({ message }) => message)
  assert.match(refused, 'other columns')
  await cluster.node.unsafe('alter table kine drop more')
  assert.equal((await again()).reads, ['list'])
})

type Write = { what: 'put' | 'delete' | 'renew' | 'compact'; name: string; state: 'ready' | 'notReady' | 'unknown' }

const writes: fc.Arbitrary<Write> = fc.record({
  what: fc.constantFrom('put', 'put', 'delete', 'renew', 'compact'),
  name: fc.constantFrom('a', 'b', 'c', 'd'),
  state: fc.constantFrom('ready', 'notReady', 'unknown'),
})

test('show what a list shows, whatever was written', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(writes, { maxLength: 6 }), { minLength: 4, maxLength: 8 }), async (rounds) => {
      await cluster.node.unsafe(`drop table kine; ${kineTable}`)
      await putNode(cluster.node, 'a', 'ready')
      const { again } = watcher()
      let old = 0
      for (const round of rounds) {
        for (const { what, name, state } of round) {
          if (what === 'put') await putNode(cluster.node, name, state)
          if (what === 'delete') await deleteNode(cluster.node, name)
          if (what === 'renew') await renewLease(cluster.node, `${name}-that-has-no-node`)
          // As kine does: of what is older than five minutes, all but the newest row of each key, and that too if it says that the key is gone.
          if (what === 'compact')
            await cluster.node`delete from kine k where id <= ${old} and (deleted = 1 or exists (select from kine n where n.name = k.name and n.id > k.id))`
        }
        const news = (await again()).nodes
        assert.equal(news, (await watcher().again()).nodes)
        old = Number((await cluster.node`select max(id) as id from kine`)[0]?.id)
      }
    }),
    { numRuns: 15 },
  )
})
