import assert from 'node:assert/strict'
import type { Case } from '../../lab/case.ts'
import { Cluster } from '../cluster.ts'
import { type External, etcd, mysql, postgres } from '../external.ts'
import type { World } from '../world.ts'

const kinds: Record<string, () => Promise<External>> = { postgres, mysql, etcd }

/** Clusters on a datastore that is not Rollcall's: two servers and an agent, powered on at once. */
export function externalCases(world: World): Case[] {
  return Object.entries(kinds).map(([kind, start]) => ({
    name: `external ${kind}: two servers and an agent, powered on at once, become one cluster`,
    run: async (keep) => {
      const { datastore, stop } = await start()
      try {
        await Cluster.with(world, kind, datastore, keep, async (cluster) => {
          for (const role of ['agent', 'server', 'server'] as const) await cluster.unpack(role)
          await Promise.all(cluster.all.map((box) => box.start()))
          await cluster.ready()
          const { state, nodes } = await cluster.body()
          assert.equal(state, 'up')
          assert.equal(nodes.filter(({ observed }) => observed).length, 3)
          const steps = await Promise.all(cluster.boxes.server.map((box) => cluster.steps(box)))
          assert.equal(steps.filter((list) => list.includes('locked')).length, 1, 'one went first')
        })
      } finally {
        await stop()
      }
    },
  }))
}
