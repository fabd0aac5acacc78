import type { Sql } from 'postgres'
import * as assert from 'uvu/assert'
import type { ManagedDatastore } from '../../src/datastore/managed.ts'
import { loginRole, ownerRole } from '../../src/k3s/datastore-names.ts'
import { suite } from '../suite.ts'
import { majors, type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'
import { kineTable, managedOn, newCluster, newEnrollment, nodeSession, passwordOf } from './node.ts'

for (const major of majors) {
  const test = suite(`the end of a cluster whose servers are against it, PostgreSQL ${major}`, { timeout: 120_000 })
  let server: Throwaway
  let managed: ManagedDatastore
  const open: Sql[] = []
  const withNode = async () => {
    const [cluster, enrollment] = [newCluster(), newEnrollment()]
    await managed.declare(cluster)
    await managed.makeLogin(cluster, enrollment, passwordOf(enrollment))
    const node = nodeSession(server, enrollment)
    open.push(node)
    await node.unsafe(kineTable)
    return { cluster, enrollment, node, owner: ownerRole(cluster), login: loginRole(enrollment) }
  }
  const left = async (name: string) => (await server.superuser()`select from pg_roles where rolname = ${name}`).length

  test.before(async () => {
    // A small table of locks, soon full.
    server = await throwawayPostgres(major, { max_locks_per_transaction: '10', max_connections: '40' })
    managed = managedOn(server)
  })
  test.after(async () => {
    await Promise.all(open.map((sql) => sql.end({ timeout: 1 })))
    await managed?.close()
    await server?.stop()
  })

  test('is purged though it holds more than Postgres has locks for', async () => {
    const { cluster, enrollment, node, owner } = await withNode()
    await node.unsafe(`create type "odd; name" as (n int); create function f() returns int language sql as 'select 1'`)
    await node.unsafe('create aggregate total(int) (sfunc = int4pl, stype = int); create domain d as int')
    for (let i = 0; i < 20; i++)
      await node.unsafe(
        `do $$ begin for i in 1..40 loop execute format('create table t${i}_%s (n serial)', i); end loop; end $$`,
      )
    for (let i = 0; i < 20; i++) await node`select count(lo_create(0)) from generate_series(1, 40)`
    await managed.dropLogin(cluster, enrollment)
    await managed.purge(cluster)
    assert.is(await left(owner), 0)
    assert.is((await server.superuser('rollcall_k3s')`select from pg_namespace where nspname = ${owner}`).length, 0)
    assert.is((await server.superuser('rollcall_k3s')`select from pg_largeobject_metadata`).length, 0)
  })

  test('goes though a node of another cluster holds its roles', async () => {
    const [one, other] = [await withNode(), await withNode()]
    const hold = `begin; grant usage on schema ${other.owner} to ${one.login}, ${one.owner}`
    await other.node.unsafe(hold)
    await managed.dropLogin(one.cluster, one.enrollment)
    assert.is(await left(one.login), 0)
    await other.node.unsafe(`begin; grant usage on schema ${other.owner} to ${one.owner}`)
    await managed.purge(one.cluster)
    assert.is(await left(one.owner), 0)
  })
}
