import assert from 'node:assert/strict'
import { type Case, until } from '../../lab/case.ts'
import { Cluster } from '../cluster.ts'
import { type External, etcd, mysql, postgres } from '../external.ts'
import type { World } from '../world.ts'

const kinds: Record<string, () => Promise<External>> = { postgres, mysql, etcd }

/** Clusters on a datastore that is not Rollcall's: two servers and an agent, powered on at once; and on one that will not do. */
export const externalCases = (world: World): Case[] => [
  ...Object.entries(kinds).map(([kind, start]) => ({
    name: `external ${kind}: two servers and an agent, powered on at once, become one cluster`,
    run: async (keep: Keep) => {
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
  })),
  {
    name: 'external refused: a database that holds another cluster is what the cluster says, and that one is not harmed',
    run: async (keep) => {
      const { datastore, stop } = await postgres()
      try {
        await Cluster.with(world, 'holder', datastore, keep, async (holder) => {
          await (await holder.unpack('server')).start()
          await holder.ready()
          await Cluster.with(world, 'intruder', datastore, keep, async (intruder) => {
            await (await intruder.unpack('server')).start()
            const said = async () => (await intruder.body()).initializer?.failure ?? ''
            await until('its first server says why', async () => (await said()) !== '', { every: 2_000, seconds: 480 })
            assert.match(await said(), /^k3s.join: k3s does not start .*encrypted with different token/)
            assert.equal((await intruder.body()).state, 'initializing')
          })
          assert.equal((await holder.body()).state, 'up')
          await holder.ready()
        })
      } finally {
        await stop()
      }
    },
  },
]

type Keep = Parameters<Case['run']>[0]
