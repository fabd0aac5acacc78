import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import * as assert from 'uvu/assert'
import { noMemory } from '../../src/datastore/cluster-memory.ts'
import { look } from '../../src/datastore/observe.ts'
import { bootstrapName } from '../../src/k3s/bootstrap.ts'
import { testsWithKine } from '../kine/program.ts'
import { startKine } from '../kine/start.ts'
import { suite } from '../suite.ts'
import { type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'
import { type Cluster, type Clusters, kineTable, makeClusters } from './clusters.ts'
import { deleteNode, put, putNode, renewLease, values } from './kine-rows.ts'

const test = suite('a look at a cluster', { timeout: 60_000 })
const token = 'f0'.repeat(32)
const now = 1_795_398_300
let server: Throwaway
let clusters: Clusters
let cluster: Cluster

test.before(async () => {
  server = await throwawayPostgres(18)
  clusters = makeClusters(server)
})
test.before.each(async () => {
  cluster = await clusters.add()
})
test.after(async () => {
  await clusters?.close()
  await server?.stop()
})

const looking =
  (memory = noMemory()) =>
  async (at = now) => {
    const looked = await look(clusters.managed.observer, cluster.id, token, memory, at)
    if (looked.kind !== 'seen') throw new Error(looked.what)
    return looked
  }
const shown = (nodes: readonly { name: string; ready: boolean | null }[]) =>
  nodes.map(({ name, ready }) => `${name}=${ready}`)

test('shows a cluster whose servers never started as virgin', async () => {
  const looked = await looking()()
  assert.equal(looked, {
    kind: 'seen',
    nodes: [],
    complete: true,
    tooMany: false,
    bootstrap: { state: 'virgin', value: undefined },
  })
})

test('tells virgin, locked and ready, and brings the bootstrap value along once', async () => {
  await cluster.node.unsafe(kineTable)
  const again = looking()
  const key = bootstrapName(token)
  assert.is((await again()).bootstrap.state, 'virgin')
  await put(cluster.node, key, Buffer.alloc(0))
  assert.is((await again()).bootstrap.state, 'locked')
  await put(cluster.node, key, Buffer.alloc(0), 1)
  assert.is((await again()).bootstrap.state, 'virgin')
  await put(cluster.node, key, Buffer.from('value'))
  assert.equal((await again()).bootstrap, { state: 'ready', value: Buffer.from('value') })
  assert.equal((await again()).bootstrap, { state: 'ready', value: undefined })
  await put(cluster.node, key, Buffer.from('other'))
  assert.equal((await again()).bootstrap.value, Buffer.from('other'))
})

test("reads no other token's bootstrap row", async () => {
  await cluster.node.unsafe(kineTable)
  await put(cluster.node, bootstrapName('ee'.repeat(32)), Buffer.from('value'))
  assert.is((await looking()()).bootstrap.state, 'virgin')
})

test('shows each Node by its newest row, and none that was deleted', async () => {
  await cluster.node.unsafe(kineTable)
  const again = looking()
  for (const name of ['a', 'b', 'c']) await putNode(cluster.node, name, 'notReady')
  await putNode(cluster.node, 'b', 'ready')
  await putNode(cluster.node, 'c', 'unknown')
  await put(cluster.node, '/registry/minionsx', values.ready)
  await put(cluster.node, '/registry/minion', values.ready)
  const first = await again()
  assert.equal(shown(first.nodes), ['a=false', 'b=true', 'c=null'])
  assert.is(first.nodes[1]?.version, 'v1.36.3+k3s1')
  await deleteNode(cluster.node, 'b')
  await putNode(cluster.node, 'd', 'ready')
  assert.equal(shown((await again()).nodes), ['a=false', 'c=null', 'd=true'])
  await putNode(cluster.node, 'b', 'ready')
  assert.equal(shown((await again()).nodes), ['a=false', 'b=true', 'c=null', 'd=true'])
})

test('misses no row that was committed late, behind one with a higher id', async () => {
  await cluster.node.unsafe(kineTable)
  const again = looking()
  await putNode(cluster.node, 'a', 'notReady')
  const slow = postgres(cluster.url, { max: 1, fetch_types: false })
  const release: (() => void)[] = []
  const ready = new Promise<void>((done) => release.push(done))
  const writing = slow.begin(async (tx) => {
    await putNode(tx as never, 'slow', 'ready')
    await ready
  })
  await sleep(200)
  await putNode(cluster.node, 'fast', 'ready')
  assert.equal(shown((await again()).nodes), ['a=false', 'fast=true'])
  release[0]?.()
  await writing
  await slow.end()
  assert.equal(shown((await again()).nodes), ['a=false', 'fast=true', 'slow=true'])
})

test('calls a Node unknown whose kubelet gives no sign of life, whatever its cluster says', async () => {
  await cluster.node.unsafe(kineTable)
  const again = looking()
  await putNode(cluster.node, 'a', 'ready')
  await putNode(cluster.node, 'b', 'notReady')
  await renewLease(cluster.node, 'a')
  await renewLease(cluster.node, 'b')
  assert.equal(shown((await again(now)).nodes), ['a=true', 'b=false'])
  assert.is((await again(now)).nodes[0]?.seenAt, 1_795_398_278)
  assert.equal(shown((await again(now + 99)).nodes), ['a=null', 'b=false'])
  await renewLease(cluster.node, 'a')
  const back = await again(now + 120)
  assert.equal(shown(back.nodes), ['a=true', 'b=false'])
  assert.is(back.nodes[0]?.seenAt, now + 120)
})

test('shows a Node that it cannot read as unknown', async () => {
  await cluster.node.unsafe(kineTable)
  await put(cluster.node, '/registry/minions/odd', Buffer.from('{"kind":"Node"}'))
  await put(cluster.node, '/registry/minions/none', null)
  assert.equal(shown((await looking()()).nodes), ['none=null', 'odd=null'])
})

test('shows many large Nodes over several looks, and says that there are more', async () => {
  await cluster.node.unsafe(kineTable)
  const memory = noMemory()
  const again = looking(memory)
  const large = Buffer.concat([values.ready, Buffer.alloc(200_000)])
  for (let n = 0; n < 30; n++) await put(cluster.node, `/registry/minions/n${n}`, large)
  const first = await again()
  assert.ok(!first.complete && first.nodes.length > 10 && first.nodes.length < 30)
  assert.ok((await again()).complete)
  assert.is((await again()).nodes.length, 30)
})

for (const version of ['0.16.3', '0.17.5'] as const) {
  testsWithKine(test, version)(`sees what kine ${version} wrote through the etcd API`, async () => {
    const endpoint = cluster.url.replace('sslmode=require', 'sslmode=verify-full')
    const cafile = `${server.data}/rollcall.crt`
    const kine = await startKine({ endpoint, cafile, version })
    try {
      const again = looking()
      const node = '/registry/minions/sn-1'
      let revision = await kine.client.create(node, values.notReady)
      await kine.client.create('/registry/leases/kube-node-lease/sn-1', values.lease)
      await kine.client.create(bootstrapName(token), Buffer.alloc(0))
      const first = await again()
      assert.equal(shown(first.nodes), ['sn-1=false'])
      assert.is(first.bootstrap.state, 'locked')
      revision = await kine.client.update(node, values.ready, revision as number)
      assert.equal(shown((await again()).nodes), ['sn-1=true'])
      await kine.client.delete(node, revision as number)
      assert.equal((await again()).nodes, [])
    } finally {
      await kine.stop()
    }
  })
}
