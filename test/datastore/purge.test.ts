import type { Sql } from 'postgres'
import * as assert from 'uvu/assert'
import type { ManagedDatastore } from '../../src/datastore/managed.ts'
import { loginRole, ownerRole, readerRole } from '../../src/k3s/datastore-names.ts'
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
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1)
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

  test('is purged though everything in it hangs on what was made last', async () => {
    const { cluster, enrollment, node, owner } = await withNode()
    const many = (text: (n: number) => string, count: number) => numbers(count).map(text).join('; ')
    for (let i = 0; i < 20; i++) await node.unsafe(many((n) => `create view v${i}_${n} as select 1 as n`, 40))
    await node.unsafe(many((n) => `create view late${n} as select 1 as n`, 60))
    const all = numbers(60).map((n) => `late${n}`)
    for (let i = 0; i < 20; i++)
      await node.unsafe(many((n) => `create or replace view v${i}_${n} as select 1 as n from ${all}`, 40))
    await managed.dropLogin(cluster, enrollment)
    await managed.purge(cluster)
    assert.is(await left(owner), 0)
  })

  test('loses a login that owns more than Postgres has locks for, in two databases; its cluster keeps all of it', async () => {
    const { cluster, enrollment, node, owner, login } = await withNode()
    const superuser = server.superuser('postgres')
    await superuser.unsafe(`grant connect on database postgres to public`)
    const elsewhere = nodeSession(server, enrollment, { database: 'postgres' })
    open.push(elsewhere)
    await elsewhere.unsafe('set role none')
    for (let i = 0; i < 30; i++) await elsewhere`select count(lo_create(0)) from generate_series(1, 40)`
    await node.unsafe(`set role none; create type "odd; name" as (n int); create domain d as int`)
    await node.unsafe(`create function f() returns int language sql as 'select 1'; create table wide (n int)`)
    for (let i = 0; i < 20; i++) {
      await node.unsafe(
        `do $$ begin for i in 1..30 loop execute format('create table t${i}_%s (n serial)', i); end loop; end $$`,
      )
      await node`select count(lo_create(0)) from generate_series(1, 40)`
    }
    for (let i = 0; i < 30; i++)
      await node
        .unsafe(
          numbers(20)
            .map((k) => `create index i${i}_${k} on wide (n)`)
            .join('; '),
        )
        .catch(() => {})
    await managed.dropLogin(cluster, enrollment)
    assert.is(await left(login), 0)
    const [kept] = await server.superuser('rollcall_k3s')`
      select count(*)::int as tables from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = ${owner} and c.relkind = 'r' and pg_get_userbyid(c.relowner) = ${owner}`
    assert.is(kept?.tables, 602)
    assert.is((await superuser`select from pg_largeobject_metadata`).length, 0)
    await superuser.unsafe(`revoke connect on database postgres from public`)
    await managed.purge(cluster)
    assert.is(await left(owner), 0)
  })

  test('goes though a node of another cluster built more on its reader than Postgres has locks for, when it could', async () => {
    const [one, other] = [await withNode(), await withNode()]
    const [way, superuser] = [`rollcall_read.${one.owner}`, server.superuser('rollcall_k3s')]
    await superuser.unsafe('grant usage on schema rollcall_read to public')
    await other.node.unsafe(`create view low as select 1 as i; create table ruled (i int)`)
    await other.node.unsafe(`create view "odd; name" as select * from ${way}('') as t(i int)`)
    await other.node.unsafe(`create rule r as on insert to ruled do also select * from ${way}('') as t(i int)`)
    await other.node.unsafe(
      `create function f() returns setof int begin atomic select i from ${way}('') as t(i int); end`,
    )
    await other.node.unsafe(`create table typed (n int, v "odd; name")`)
    for (let i = 0; i < 20; i++)
      await other.node.unsafe(
        numbers(40)
          .map((n) => `create view v${i}_${n} as select i from ${n % 2 ? `${way}('') as t(i int)` : '"odd; name"'}`)
          .join(';'),
      )
    // A view that was made before what it reads.
    await other.node.unsafe('create or replace view low as select i from v19_40')
    await superuser.unsafe('revoke usage on schema rollcall_read from public')
    await managed.dropLogin(one.cluster, one.enrollment)
    await managed.purge(one.cluster)
    assert.is(await left(readerRole(one.cluster)), 0)
    const kept = await superuser`select relname from pg_class c join pg_namespace n on n.oid = relnamespace
      where nspname = ${other.owner} and relkind in ('r', 'v') order by 1`
    assert.equal(
      kept.map(({ relname }) => relname),
      ['kine', 'ruled', 'typed'],
    )
  })

  test('goes though a node of another cluster granted its roles a large object in another database', async () => {
    const [one, other] = [await withNode(), await withNode()]
    const superuser = server.superuser('postgres')
    await superuser.unsafe(`grant connect on database postgres to public`)
    const elsewhere = nodeSession(server, other.enrollment, { database: 'postgres' })
    open.push(elsewhere)
    await elsewhere.unsafe('set role none')
    const [made] = await elsewhere`select lo_create(0) as id`
    await elsewhere.unsafe(
      `grant select on large object ${made?.id} to ${one.owner}, ${readerRole(one.cluster)}, ${one.login}`,
    )
    await managed.dropLogin(one.cluster, one.enrollment)
    await managed.purge(one.cluster)
    assert.equal([await left(one.login), await left(one.owner), await left(readerRole(one.cluster))], [0, 0, 0])
    assert.is((await superuser`select from pg_largeobject_metadata`).length, 1)
    await superuser.unsafe(`revoke connect on database postgres from public`)
  })

  test('goes though a node of another cluster granted its roles something by a grant option', async () => {
    const [one, other] = [await withNode(), await withNode()]
    const victims = `${one.owner}, ${one.login}, ${readerRole(one.cluster)}`
    const superuser = server.superuser('postgres')
    await superuser.unsafe(`grant connect on database postgres to public`)
    const elsewhere = nodeSession(server, other.enrollment, { database: 'postgres' })
    open.push(elsewhere)
    const grantTwice = async (node: Sql, giver: string, from: string, to: string, rights: readonly string[]) => {
      await node.unsafe(`set role ${from}`)
      for (const right of rights) await node.unsafe(`grant ${right} to ${giver} with grant option`)
      await node.unsafe(`set role ${to}`)
      for (const right of rights) await node.unsafe(`grant ${right} to ${victims}`)
    }
    await other.node.unsafe(`create type "odd; name" as (n int); create domain d as int; create sequence s`)
    await other.node.unsafe(
      `create function f(int) returns int language sql as 'select 1'; create table "a ""b" ("n m" int)`,
    )
    const [made] = await other.node`select lo_create(0) as id`
    await grantTwice(other.node, other.login, other.owner, 'none', [
      'select on kine',
      'select, update ("n m") on "a ""b"',
      'all on sequence s',
      'all on function f(int)',
      'all on type "odd; name"',
      'all on domain d',
      `usage on schema ${other.owner}`,
      `select on large object ${made?.id}`,
    ])
    await elsewhere.unsafe('set role none')
    const [there] = await elsewhere`select lo_create(0) as id`
    await grantTwice(elsewhere, other.owner, 'none', other.owner, [`all on large object ${there?.id}`])
    await managed.dropLogin(one.cluster, one.enrollment)
    await managed.purge(one.cluster)
    assert.equal([await left(one.login), await left(one.owner), await left(readerRole(one.cluster))], [0, 0, 0])
    await superuser.unsafe(`revoke connect on database postgres from public`)
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
