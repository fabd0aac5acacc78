import assert from 'node:assert/strict'
import { type Case, until } from '../../lab/case.ts'
import { Cluster } from '../cluster.ts'
import type { World } from '../world.ts'

const etcd = { kind: 'embedded-etcd' }
/** Seconds: members are let in one after the other, and each catches up before the next. */
const patience = 420

/** Embedded etcd is K3s' own: it is seen only where a real server is given. */
export function etcdCases(world: World): Case[] {
  if (!process.env.ROLLCALL_CLUSTERS_K3S) return []
  return [
    {
      name: 'embedded etcd: three servers and an agent, powered on at once, become one cluster',
      run: (keep) =>
        Cluster.with(world, 'etcd', etcd, keep, async (cluster) => {
          for (const role of ['server', 'server', 'server', 'agent'] as const) await cluster.unpack(role)
          await Promise.all(cluster.all.map((box) => box.start()))
          await cluster.ready(cluster.all, patience)
          const inits = await Promise.all(
            cluster.boxes.server.map((box) => box.read('/etc/rancher/k3s/config.yaml.d/50-rollcall.yaml')),
          )
          assert.equal(inits.filter((text) => text?.startsWith('cluster-init:')).length, 1)
          assert.equal((await cluster.body()).state, 'up')
        }),
    },
    {
      name: 'embedded etcd: a server that comes back with an empty disk joins its cluster again',
      run: (keep) =>
        Cluster.with(world, 'etcd-back', etcd, keep, async (cluster) => {
          for (let n = 0; n < 3; n++) await cluster.unpack('server')
          await Promise.all(cluster.all.map((box) => box.start()))
          await cluster.ready(cluster.all, patience)
          const { ca_hash: before } = await cluster.body()
          const [old] = cluster.boxes.server
          assert.ok(old)
          await old.cut()
          const server = await cluster.reinstall(old)
          await server.start()
          await until('K3s runs on the new disk', () => server.has('/etc/rancher/k3s/k3s.yaml'))
          await cluster.ready(cluster.all, patience)
          assert.equal((await cluster.body()).ca_hash, before)
        }),
    },
  ]
}
