import { labAddress } from '../lab/network.ts'
import { throwawayEtcd } from '../throwaway-etcd.ts'
import { throwawayMariadb } from '../throwaway-mariadb.ts'
import { majors, throwawayPostgres } from '../throwaway-postgres.ts'
import { Balancer } from './balancer.ts'
import type { Datastore } from './cluster.ts'

/** A real datastore of a case's own, behind a door that can be shut. */
export type External = { datastore: Datastore; door: Balancer; stop: () => Promise<void> }

/** Debian's 15 where it is there. */
export async function postgres(): Promise<External> {
  const server = await throwawayPostgres(majors[0] as (typeof majors)[number], {}, [labAddress])
  const door = await Balancer.open({ host: '127.0.0.1', port: server.port })
  const sql = server.superuser()
  await sql.unsafe("create role k3s_a login password 'n1%pw/@:x'")
  await sql.unsafe("create database k3s_a owner k3s_a template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'")
  const endpoint = `postgres://k3s_a:n1%25pw%2F%40%3Ax@${labAddress}:${door.port}/k3s_a?sslmode=verify-full`
  return { datastore: { kind: 'postgres', endpoint, cafile: server.ca }, door, stop: closing(door, server) }
}

export async function mysql(): Promise<External> {
  const server = await throwawayMariadb([labAddress])
  const door = await Balancer.open({ host: '127.0.0.1', port: server.port })
  await server.run("create user k3s_b@'%' identified by 'n1-pw'")
  await server.run('create database k3s_b')
  await server.run("grant all on k3s_b.* to k3s_b@'%'")
  const endpoint = `mysql://k3s_b:n1-pw@tcp(${labAddress}:${door.port})/k3s_b`
  return { datastore: { kind: 'mysql', endpoint, cafile: server.ca }, door, stop: closing(door, server) }
}

export async function etcd(): Promise<External> {
  const server = await throwawayEtcd([labAddress])
  const door = await Balancer.open({ host: '127.0.0.1', port: Number(new URL(server.url).port) })
  const { certificate: certfile, key: keyfile } = server.client
  const endpoint = `https://${labAddress}:${door.port}`
  return {
    datastore: { kind: 'etcd', endpoint, cafile: server.ca, certfile, keyfile },
    door,
    stop: closing(door, server),
  }
}

const closing = (door: Balancer, server: { stop: () => Promise<void> }) => async () => {
  door.close()
  await server.stop()
}
