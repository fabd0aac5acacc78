import assert from 'node:assert/strict'
import type { Case } from '../../lab/case.ts'
import { labAddress } from '../../lab/network.ts'
import { throwawayEtcd } from '../../throwaway-etcd.ts'
import { throwawayMariadb } from '../../throwaway-mariadb.ts'
import { majors, throwawayPostgres } from '../../throwaway-postgres.ts'
import { Balancer } from '../balancer.ts'
import { Cluster } from '../cluster.ts'
import type { World } from '../world.ts'

type Kept = { datastore: unknown; stop: () => Promise<void> }

const kinds: Record<string, () => Promise<Kept>> = { postgres, mysql, etcd }

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

/** Debian's 15 where it is there. */
async function postgres(): Promise<Kept> {
  const server = await throwawayPostgres(majors[0] as (typeof majors)[number])
  const door = await Balancer.open({ host: '127.0.0.1', port: server.port })
  const sql = server.superuser()
  await sql.unsafe("create role k3s_a login password 'n1%pw/@:x'")
  await sql.unsafe("create database k3s_a owner k3s_a template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'")
  // Its certificate names the loopback, and the boxes come by another address.
  const endpoint = `postgres://k3s_a:n1%25pw%2F%40%3Ax@${labAddress}:${door.port}/k3s_a?sslmode=verify-ca`
  return { datastore: { kind: 'postgres', endpoint, cafile: server.ca }, stop: closing(door, server) }
}

async function mysql(): Promise<Kept> {
  const server = await throwawayMariadb([labAddress])
  const door = await Balancer.open({ host: '127.0.0.1', port: server.port })
  await server.run("create user k3s_b@'%' identified by 'n1-pw'")
  await server.run('create database k3s_b')
  await server.run("grant all on k3s_b.* to k3s_b@'%'")
  const endpoint = `mysql://k3s_b:n1-pw@tcp(${labAddress}:${door.port})/k3s_b`
  return { datastore: { kind: 'mysql', endpoint, cafile: server.ca }, stop: closing(door, server) }
}

async function etcd(): Promise<Kept> {
  const server = await throwawayEtcd([labAddress])
  const door = await Balancer.open({ host: '127.0.0.1', port: Number(new URL(server.url).port) })
  const { certificate: certfile, key: keyfile } = server.client
  const endpoint = `https://${labAddress}:${door.port}`
  return { datastore: { kind: 'etcd', endpoint, cafile: server.ca, certfile, keyfile }, stop: closing(door, server) }
}

const closing = (door: Balancer, server: { stop: () => Promise<void> }) => async () => {
  door.close()
  await server.stop()
}
