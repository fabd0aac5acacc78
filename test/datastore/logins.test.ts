import type { Sql } from 'postgres'
import * as assert from 'uvu/assert'
import type { ManagedDatastore } from '../../src/datastore/managed.ts'
import { loginRole, ownerRole } from '../../src/k3s/datastore-names.ts'
import { suite } from '../suite.ts'
import { majors, type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'
import { kineTable, managedOn, namesIn, newCluster, newEnrollment, nodeSession, passwordOf, refusal } from './node.ts'

for (const major of majors) {
  const test = suite(`logins of server nodes, PostgreSQL ${major}`, { timeout: 60_000 })
  let server: Throwaway
  let managed: ManagedDatastore
  const open: Sql[] = []
  const session = (...args: Parameters<typeof nodeSession> extends [unknown, ...infer Rest] ? Rest : never) => {
    const sql = nodeSession(server, ...args)
    open.push(sql)
    return sql
  }
  const withNode = async () => {
    const [cluster, enrollment] = [newCluster(), newEnrollment()]
    await managed.declare(cluster)
    await managed.makeLogin(cluster, enrollment, passwordOf(enrollment))
    return { cluster, enrollment, owner: ownerRole(cluster), login: loginRole(enrollment) }
  }
  const rolesNamed = async (name: string) =>
    (await server.superuser()`select from pg_roles where rolname = ${name}`).length

  test.before(async () => {
    server = await throwawayPostgres(major, { log_statement: 'all', max_connections: '100' })
    managed = managedOn(server)
  })
  test.after.each(async () => {
    await Promise.all(open.splice(0).map((sql) => sql.end({ timeout: 1 })))
  })
  test.after(async () => {
    await managed?.close()
    await server?.stop()
  })

  test('a node may not read or enter what is not its cluster’s', async () => {
    const [a, b] = [await withNode(), await withNode()]
    await session(a.enrollment).unsafe(kineTable)
    const node = session(b.enrollment)
    await node.unsafe(kineTable)
    const refused = {
      'reads another cluster': `select * from ${a.owner}.kine`,
      'makes a table in another cluster': `create table ${a.owner}.mine (n int)`,
      'makes a table in public': 'create table public.mine (n int)',
      'makes a schema': 'create schema mine',
      'makes a temporary table': 'create temporary table mine (n int)',
      'takes another owner’s role': `set role ${a.owner}`,
      'takes another node’s role': `set role ${a.login}`,
      'takes our role': 'set role rollcall',
      'takes the observer’s role': 'set role rollcall_observer',
      'makes a role': 'create role mine',
      'raises its own limit': `alter role ${b.login} connection limit 1000`,
      'gives its schema another name': `alter schema ${b.owner} rename to mine`,
      'gives its schema away': `alter schema ${b.owner} owner to ${a.owner}`,
      'installs an extension': 'create extension plpgsql_check',
      'reads passwords': 'select * from pg_authid',
      'reads files': `copy ${b.owner}.kine (name) from '/etc/passwd'`,
    }
    for (const [what, statement] of Object.entries(refused)) {
      assert.match(String(await refusal(node.unsafe(statement))), /^(42501|0A000|58P01)$/, what)
    }
    for (const database of ['rollcall']) {
      assert.is(await refusal(session(b.enrollment, { database })`select 1`), '42501', database)
    }
  })

  test('a node’s unqualified names are its cluster’s, and what it makes is its owner’s', async () => {
    const { cluster, enrollment, owner } = await withNode()
    const node = session(enrollment)
    await node.unsafe(kineTable)
    const [made] =
      await node`select schemaname, tableowner from pg_tables where tablename = 'kine' and schemaname = ${owner}`
    assert.equal(made, { schemaname: owner, tableowner: owner })
    await node.unsafe(`insert into kine (name) values ('/registry/minions/a')`)
    assert.equal(await namesIn(managed, cluster), ['/registry/minions/a'])
    for (const statement of [
      `delete from ${owner}.kine`,
      `select * from ${owner}.kine`,
      `create table ${owner}.mine (n int)`,
    ]) {
      // 25006: a read-only transaction
      assert.match(String(await refusal(managed.observer.run(statement))), /^(42501|25006)$/, statement)
    }
  })

  test('a login that was fenced ends its sessions and may not come again', async () => {
    const [a, b] = [await withNode(), await withNode()]
    const [node, other] = [session(a.enrollment, { max: 3 }), session(b.enrollment)]
    await Promise.all([1, 2, 3].map(() => node`select pg_sleep(0.1)`))
    await other`select 1`
    await managed.fenceLogin(a.enrollment)
    assert.is((await server.superuser()`select from pg_stat_activity where usename = ${a.login}`).length, 0)
    assert.match(String(await refusal(node`select 1`)), /^(28000|57P01|CONNECTION_\w+)$/)
    assert.is(await refusal(session(a.enrollment)`select 1`), '28000')
    await other`select 1`
    await managed.fenceLogin(a.enrollment)
    await managed.fenceLogin(newEnrollment())
  })

  test('a fenced login is made good again, whatever the node did to it', async () => {
    const { cluster, enrollment, owner, login } = await withNode()
    const node = session(enrollment)
    await node.unsafe('set role none')
    await node.unsafe(`alter role ${login} password 'mine'`)
    await node.unsafe(`alter role ${login} set role = 'none'`)
    await node.unsafe(`alter role ${login} in database rollcall_k3s set search_path = 'pg_temp'`)
    await managed.fenceLogin(enrollment)
    await managed.makeLogin(cluster, enrollment, passwordOf(enrollment))
    assert.is(await refusal(session(enrollment, { password: 'mine' })`select 1`), '28P01')
    const [row] = await session(enrollment)`select current_user::text as me, current_setting('search_path') as path`
    assert.equal(row, { me: owner, path: owner })
  })

  test('a node that locks its own role is fenced all the same', async () => {
    const { enrollment, login } = await withNode()
    const node = session(enrollment)
    await node.unsafe('set role none')
    await node.unsafe('begin')
    await node.unsafe(`alter role ${login} password 'mine'`)
    const held = refusal(node`select pg_sleep(30)`)
    await managed.fenceLogin(enrollment)
    assert.match(String(await held), /^(57P01|CONNECTION_\w+)$/)
    assert.is(await refusal(session(enrollment)`select 1`), '28000')
  })

  test('a node may not take our membership in its role away, nor give others one', async () => {
    const { enrollment, login, owner } = await withNode()
    const node = session(enrollment)
    await node.unsafe('set role none')
    assert.is(await refusal(node.unsafe(`revoke ${login} from rollcall`)), '42501')
    assert.is(await refusal(node.unsafe(`grant ${login} to rollcall_observer`)), '42501')
    assert.is(await refusal(node.unsafe(`grant ${owner} to rollcall_observer`)), '42501')
  })

  test('a node that comes again and again is fenced all the same', async () => {
    const { enrollment, login } = await withNode()
    let [over, came] = [false, 0]
    const storm = Array.from({ length: 8 }, async () => {
      while (!over) {
        const sql = nodeSession(server, enrollment)
        if (!(await refusal(sql`select 1`))) came++
        if (came % 3 > 0) open.push(sql)
        else await sql.end({ timeout: 1 })
      }
    })
    while (came < 10) await new Promise((done) => setTimeout(done, 10))
    await managed.fenceLogin(enrollment)
    const seen = await server.superuser()`select from pg_stat_activity where usename = ${login}`
    assert.is(seen.length, 0)
    over = true
    await Promise.all(storm)
    assert.is((await server.superuser()`select from pg_stat_activity where usename = ${login}`).length, 0)
  })

  test('dropping a login leaves its cluster whole, and what the node made outside of it is the owner’s', async () => {
    const { cluster, enrollment, owner, login } = await withNode()
    const node = session(enrollment)
    await node.unsafe(kineTable)
    await node.unsafe(`insert into kine (name) values ('/registry/minions/a')`)
    await node.unsafe(`set role none; create table ${owner}.mine (n int); select lo_create(4711)`)
    await node.unsafe(`create function ${owner}.trap() returns int language sql as 'select 1'`)
    await node.unsafe(`alter default privileges in schema ${owner} grant all on tables to public`)
    await managed.dropLogin(cluster, enrollment)
    assert.is(await rolesNamed(login), 0)
    const inside = server.superuser('rollcall_k3s')
    const tables = await inside`select tablename, tableowner from pg_tables where schemaname = ${owner} order by 1`
    assert.equal(
      [...tables],
      [
        { tablename: 'kine', tableowner: owner },
        { tablename: 'mine', tableowner: owner },
      ],
    )
    assert.is((await inside.unsafe(`select * from ${owner}.kine`)).length, 1)
    await managed.dropLogin(cluster, enrollment)
  })

  test('what a node granted to nodes of other clusters ends with its login', async () => {
    const [gone, friend] = [await withNode(), await withNode()]
    const node = session(gone.enrollment)
    await node.unsafe(kineTable)
    await node.unsafe(`grant all on kine to ${friend.owner}, ${friend.login}, public`)
    await node.unsafe(`grant usage on schema ${gone.owner} to ${friend.owner}, ${friend.login} with grant option`)
    await node.unsafe(`grant all on schema ${gone.owner} to public`)
    const other = session(friend.enrollment)
    assert.is(await refusal(other.unsafe(`select from ${gone.owner}.kine`)), undefined)
    await managed.dropLogin(gone.cluster, gone.enrollment)
    assert.is(await refusal(other.unsafe(`select from ${gone.owner}.kine`)), '42501')
    assert.equal(await namesIn(managed, gone.cluster), [])
  })

  test('a node that left something in another database is dropped all the same, and its cluster purged', async () => {
    const { cluster, enrollment, login, owner } = await withNode()
    await server.superuser().unsafe('grant connect on database postgres to public')
    const elsewhere = session(enrollment, { database: 'postgres' })
    await elsewhere`select lo_create(0)`
    await elsewhere.unsafe('set role none; select lo_create(0)')
    await managed.dropLogin(cluster, enrollment)
    assert.is(await rolesNamed(login), 0)
    await managed.purge(cluster)
    assert.is(await rolesNamed(owner), 0)
    await server.superuser().unsafe('revoke connect on database postgres from public')
  })

  test('a drop that stopped half-way is completed by the next', async () => {
    const { cluster, enrollment, owner, login } = await withNode()
    const node = session(enrollment)
    await node.unsafe(`set role none; create table ${owner}.mine (n int)`)
    const holder = server.superuser('rollcall_k3s', 1)
    await holder.unsafe(`begin; lock table ${owner}.mine in access share mode`)
    assert.is(await refusal(managed.dropLogin(cluster, enrollment)), '55P03')
    assert.is(await rolesNamed(login), 1)
    assert.is(await refusal(session(enrollment)`select 1`), '28000')
    await holder.unsafe('commit')
    await managed.dropLogin(cluster, enrollment)
    assert.is(await rolesNamed(login), 0)
  })

  test('no password stands in Postgres’ log, nor when a statement fails', async () => {
    const { cluster, enrollment, login } = await withNode()
    await server.superuser().unsafe(`alter role ${login} rename to ${login}_away`)
    assert.is(await refusal(managed.makeLogin(newCluster(), enrollment, passwordOf(enrollment))), '42704')
    await server.superuser().unsafe(`alter role ${login}_away rename to ${login}`)
    await managed.makeLogin(cluster, enrollment, passwordOf(enrollment))
    const log = server.log()
    assert.match(log, /ERROR: {2}role "k3s_\w+" does not exist/)
    assert.match(log, new RegExp(`create role ${login} login password 'SCRAM-SHA-256\\$`, 'i'))
    assert.is(log.includes(passwordOf(enrollment)), false)
  })

  test('fifty logins of one cluster are made at once', async () => {
    const cluster = newCluster()
    await managed.declare(cluster)
    const enrollments = Array.from({ length: 50 }, newEnrollment)
    await Promise.all(enrollments.map((one) => managed.makeLogin(cluster, one, passwordOf(one))))
    const [row] = await session(enrollments[49] as string)`select current_user::text as me`
    assert.is(row?.me, ownerRole(cluster))
  })
}
