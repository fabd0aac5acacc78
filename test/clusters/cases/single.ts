import assert from 'node:assert/strict'
import type { Case } from '../../lab/case.ts'
import { Cluster } from '../cluster.ts'
import type { World } from '../world.ts'

/** One server on SQLite. */
export function singleCases(world: World): Case[] {
  return [
    {
      name: 'sqlite: one server, Ready on the roll, read from the cluster itself',
      run: (keep) =>
        Cluster.with(world, 'single', { kind: 'sqlite' }, keep, async (cluster) => {
          const box = await cluster.unpack('server')
          await box.start()
          await cluster.ready()
          const { state, ca_hash, nodes } = await cluster.body()
          assert.equal(state, 'up')
          assert.match(ca_hash ?? '', /^[0-9a-f]{64}$/)
          assert.deepEqual(
            nodes.map(({ name, state, observed }) => ({ name, state, observed })),
            [{ name: box.serial.toLowerCase(), state: 'ready', observed: true }],
          )
          assert.match(await cluster.kubectl(box, 'get', 'nodes'), / Ready +control-plane /)
        }),
    },
  ]
}
