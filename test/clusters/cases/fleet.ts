import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import type { Case } from '../../lab/case.ts'
import { Cluster, type ClusterBody } from '../cluster.ts'
import type { World } from '../world.ts'

const size = { server: 3, agent: Number(process.env.ROLLCALL_FLEET_AGENTS ?? 47) }

/** One large cluster at once, alone on the machine: what it costs the server. */
export function fleetCases(world: World): Case[] {
  return [
    {
      name: `fleet: ${size.server} servers and ${size.agent} agents from power-on to all Ready`,
      run: (keep) =>
        Cluster.with(world, 'fleet', { kind: 'managed' }, keep, async (cluster) => {
          for (const role of ['server', 'agent'] as const)
            for (let n = 0; n < size[role]; n++) await cluster.unpack(role)
          const before = await cost(world.server.pid)
          const begun = performance.now()
          await Promise.all(cluster.all.map((box) => box.start()))
          // One question every two seconds: what the admin's own looking costs is not the boxes'.
          let told = ''
          const look = ({ nodes }: ClusterBody) => {
            const now = tally(nodes)
            if (now !== told)
              console.log(`       ${((performance.now() - begun) / 1000).toFixed(0).padStart(3)} s  ${now}`)
            told = now
            return isReady(nodes, cluster.all.length)
          }
          const { state, nodes } = await cluster.says('all ready', look, 900)
          const seconds = (performance.now() - begun) / 1000
          const after = await cost(world.server.pid)
          assert.equal(state, 'up')
          assert.equal(nodes.length, cluster.all.length)
          const each = (what: keyof typeof after) => `${(after[what] - before[what]).toFixed(2)} s`
          console.log(
            `figure: ${cluster.all.length} boxes from power-on to all Ready in ${seconds.toFixed(0)} s; CPU of rollcall ${each('node')}, of its PostgreSQL ${each('postgres')} (the clusters' own queries included)`,
          )
        }),
    },
  ]
}

const isReady = (nodes: { state: string; observed: boolean }[], count: number) =>
  nodes.filter(({ state, observed }) => state === 'ready' && observed).length === count

function tally(nodes: { state: string; observed: boolean }[]): string {
  const counts = new Map<string, number>()
  for (const { state } of nodes) counts.set(state, (counts.get(state) ?? 0) + 1)
  return [...counts].map(([state, count]) => `${count} ${state}`).join(', ') || 'nothing yet'
}

/** CPU seconds that a process has used, and all of PostgreSQL. */
async function cost(pid: number): Promise<{ node: number; postgres: number }> {
  const all = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  let postgres = 0
  for (const one of all) {
    const name = await readFile(`/proc/${one}/comm`, 'utf8').catch(() => '')
    // Those that ended are counted by their parent, the postmaster.
    if (name.trim() === 'postgres') postgres += await used(one, true)
  }
  return { node: await used(String(pid), false), postgres }
}

async function used(pid: string, children: boolean): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // utime stime cutime cstime, in hundredths (proc(5)); the name before may hold anything.
  const ticks = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, children ? 15 : 13)
  return ticks.reduce((sum, n) => sum + Number(n), 0) / 100
}
