import assert from 'node:assert/strict'
import type { Box } from '../../lab/box.ts'
import type { Case } from '../../lab/case.ts'
import { Cluster } from '../cluster.ts'
import type { World } from '../world.ts'

const managed = { kind: 'managed' }

/** Clusters on the roll's own PostgreSQL. */
export function managedCases(world: World): Case[] {
  return [
    {
      name: 'managed: three servers and three agents, powered on at once in any order, become one cluster',
      run: (keep) =>
        Cluster.with(world, 'six', managed, keep, async (cluster) => {
          for (const role of ['agent', 'server', 'agent', 'server', 'server', 'agent'] as const)
            await cluster.unpack(role)
          await Promise.all(shuffled(cluster.all).map((box) => box.start()))
          await cluster.ready()
          await assertOne(cluster)
        }),
    },
  ]
}

/** One cluster, begun by one server, which the roll shows as kubectl does. */
async function assertOne(cluster: Cluster): Promise<void> {
  const { state, nodes } = await cluster.body()
  assert.equal(state, 'up')
  assert.equal(nodes.length, cluster.all.length)
  const steps = await Promise.all(cluster.boxes.server.map((box) => cluster.steps(box)))
  assert.equal(steps.filter((list) => list.includes('locked')).length, 1, 'one went first')
  const [first] = cluster.boxes.server as [Box]
  const listed = (await cluster.kubectl(first, 'get', 'nodes', '--no-headers')).trim().split('\n')
  assert.equal(listed.filter((line) => / Ready /.test(line)).length, cluster.all.length, listed.join('\n'))
}

function shuffled<T>(list: readonly T[]): T[] {
  return list
    .map((item) => [Math.random(), item] as const)
    .sort(([a], [b]) => a - b)
    .map(([, item]) => item)
}
