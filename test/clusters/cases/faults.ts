import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Case, until } from '../../lab/case.ts'
import { Cluster } from '../cluster.ts'
import { postgres } from '../external.ts'
import type { World } from '../world.ts'

/** The datastore goes while a cluster is made. */
export function faultCases(world: World): Case[] {
  return [
    {
      name: 'faults: an external PostgreSQL is away for ten seconds while the first server makes the cluster',
      run: async (keep) => {
        const { datastore, door, stop } = await postgres()
        try {
          await Cluster.with(world, 'away', datastore, keep, async (cluster) => {
            const first = await cluster.unpack('server')
            await cluster.hold(first, 'locked')
            await first.start()
            await cluster.reaches(first, 'locked')
            const backends = door.cut()
            await cluster.lift(first, 'locked')
            await sleep(10_000)
            door.backends = backends
            await cluster.ready()
          })
        } finally {
          await stop()
        }
      },
    },
  ]
}

/** The roll's own PostgreSQL goes, and with it every cluster's. */
export function crashCases(world: World): Case[] {
  return [
    {
      name: "faults: the roll's PostgreSQL crashes while the first server makes the cluster, and the cluster comes up all the same",
      run: (keep) =>
        Cluster.with(world, 'crash', { kind: 'managed' }, keep, async (cluster) => {
          const [first, agent] = [await cluster.unpack('server'), await cluster.unpack('agent')]
          await cluster.hold(first, 'locked')
          await Promise.all([first.start(), agent.start()])
          await cluster.reaches(first, 'locked')
          await crash(world)
          await cluster.lift(first, 'locked')
          await cluster.ready()
          assert.equal((await cluster.body()).state, 'up')
        }),
    },
  ]
}

/** One backend that dies by SIGKILL takes all with it: PostgreSQL restarts, and recovers from its log. */
async function crash({ database }: World): Promise<void> {
  await database(async (sql) => {
    const [backend] = await sql<{ pid: number }[]>`select pid from pg_stat_activity where datname = 'rollcall_k3s'`
    process.kill(backend?.pid as number, 'SIGKILL')
  })
  const answers = () =>
    database((sql) => sql`select 1`).then(
      () => true,
      () => false,
    )
  await until('PostgreSQL answers again', answers, { seconds: 60, every: 500 })
}
