import assert from 'node:assert/strict'
import type { Case } from '../../lab/case.ts'
import { Cluster } from '../cluster.ts'
import type { World } from '../world.ts'

/** Where the power goes at the first server: K3s' own points, in their order (test/fakes/k3s/steps.ts). */
const points = ['datastore', 'locked', 'made', 'saved', 'listening', 'ready', 'node']
/** Before the cluster has certificates, with some that nobody else has, and after the cluster is there. */
const usual = ['locked', 'made', 'node']

/** The first server of a cluster dies; its turn runs out, it is fenced, another one begins or joins, and it comes back as one of many. */
export function takeoverCases(world: World): Case[] {
  const some = process.env.LONG ? points : usual
  return some.map((point) => ({
    name: `takeover: the first server dies at "${point}"; the second goes on, and the first comes back into the same cluster`,
    run: (keep) =>
      Cluster.with(world, `takeover-${point}`, { kind: 'managed' }, keep, async (cluster) => {
        const [first, second] = [await cluster.unpack('server'), await cluster.unpack('server')]
        await cluster.hold(first, point)
        await first.start()
        await cluster.reaches(first, point)
        await first.cut()
        await second.start()
        await endTurn(world, cluster.name)
        await cluster.ready([second])
        const { ca_hash } = await cluster.body()
        await cluster.lift(first, point)
        await first.start()
        await cluster.ready()
        const after = await cluster.body()
        assert.equal(after.state, 'up')
        assert.equal(after.ca_hash, ca_hash)
      }),
  }))
}

/** Nobody waits a quarter of an hour for it. */
const endTurn = ({ database }: World, cluster: string) =>
  database((sql) => sql`update clusters set initializer_until = now() - interval '1 second' where name = ${cluster}`)
