import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import * as assert from 'uvu/assert'
import { ownerRole, readerRole } from '../../src/k3s/datastore-names.ts'
import { suite } from '../suite.ts'
import { majors, type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'
import { kineTable, managedOn, namesIn, newCluster, newEnrollment, nodeSession, passwordOf, refusal } from './node.ts'

for (const major of majors) {
  const test = suite(`what managed clusters share, PostgreSQL ${major}`, { timeout: 60_000 })
  let server: Throwaway
  const failure = async (work: Promise<unknown>) => {
    try {
      await work
    } catch (error) {
      return (error as Error).message
    }
    return 'it worked'
  }
  const oneManaged = async (use: (managed: ReturnType<typeof managedOn>) => Promise<unknown>, url?: string) => {
    const managed = managedOn(server, url === undefined ? {} : { url })
    try {
      return await use(managed)
    } finally {
      await managed.close()
    }
  }

  test.before(async () => {
    server = await throwawayPostgres(major)
  })
  test.after(() => server?.stop())

  test('says which attribute our role lacks', async () => {
    const root = server.superuser()
    await root.unsafe('alter role rollcall nocreaterole nocreatedb')
    assert.is(
      await failure(oneManaged((managed) => managed.ready())),
      'managed datastores need more than the role rollcall may do: as a superuser, ALTER ROLE "rollcall" CREATEROLE CREATEDB',
    )
    await root.unsafe('alter role rollcall createrole')
    assert.match(await failure(oneManaged((managed) => managed.ready())), /ALTER ROLE "rollcall" CREATEDB$/)
    await root.unsafe('alter role rollcall createdb')
  })

  test('refuses a database of that name that is somebody else’s, or sorts in another way', async () => {
    const root = server.superuser()
    await root.unsafe('create database rollcall_k3s')
    assert.is(
      await failure(oneManaged((managed) => managed.ready())),
      'the database rollcall_k3s exists already and belongs to postgres',
    )
    await root.unsafe('drop database rollcall_k3s')
    await root.unsafe(
      `create database rollcall_k3s owner rollcall template template0 encoding 'SQL_ASCII' locale_provider libc lc_collate 'C' lc_ctype 'C'`,
    )
    assert.match(await failure(oneManaged((managed) => managed.ready())), /not with encoding UTF8 and collation C$/)
    await root.unsafe('drop database rollcall_k3s')
  })

  test('says so when a shared role was made by somebody else, over whom CREATEROLE does not rule from 16 on', async () => {
    await server.superuser().unsafe('create role k3s_nodes')
    const said = await failure(oneManaged((managed) => managed.ready()))
    if (major >= 16) assert.match(said, /was made by somebody else: as a superuser, drop it, or GRANT it/)
    else assert.is(said, 'it worked')
    await server.superuser().unsafe('drop database rollcall_k3s')
    await server.superuser().unsafe('drop role if exists k3s_n_probe, rollcall_observer, k3s_nodes')
  })

  test('is made once by ten servers that start together, and found by the eleventh', async () => {
    const all = Array.from({ length: 10 }, () => managedOn(server))
    await Promise.all(all.map((managed) => managed.ready()))
    await Promise.all(all.map((managed) => managed.close()))
    await oneManaged((managed) => managed.ready())
    const [database] = await server.superuser()`
      select pg_get_userbyid(datdba) as owner, datcollate, datctype, datlocprovider::text as provider,
        has_database_privilege('public', oid, 'connect') as open
      from pg_database where datname = 'rollcall_k3s'`
    assert.equal(database, { owner: 'rollcall', datcollate: 'C', datctype: 'C', provider: 'c', open: false })
    const roles = await server.superuser()`
      select rolname, rolcanlogin, rolinherit, rolcreaterole or rolcreatedb or rolsuper or rolreplication or rolbypassrls as mighty,
        array(select roleid::regrole::text from pg_auth_members where member = r.oid) as groups
      from pg_roles r where rolname in ('k3s_nodes', 'k3s_n_probe', 'rollcall_observer') order by 1`
    assert.equal(
      [...roles],
      [
        { rolname: 'k3s_n_probe', rolcanlogin: true, rolinherit: true, mighty: false, groups: ['k3s_nodes'] },
        { rolname: 'k3s_nodes', rolcanlogin: false, rolinherit: true, mighty: false, groups: [] },
        { rolname: 'rollcall_observer', rolcanlogin: true, rolinherit: false, mighty: false, groups: [] },
      ],
    )
  })

  test('closes what somebody opened meanwhile, and gives the observer its password back', async () => {
    const inside = server.superuser('rollcall_k3s')
    await inside.unsafe('grant all on database rollcall_k3s to public; grant all on schema public to public')
    await inside.unsafe(`alter role rollcall_observer nologin; alter role k3s_n_probe password 'another'`)
    await oneManaged(async (managed) => {
      await managed.ready()
      await managed.observer.run('select 1')
    })
    const [open] = await inside`select has_database_privilege('public', 'rollcall_k3s', 'connect') as database,
      has_schema_privilege('public', 'public', 'usage') as schema`
    assert.equal(open, { database: false, schema: false })
  })

  test('is not used before what only a superuser can do was done, and asks for that again', async () => {
    let tries = 0
    const secure = async () => {
      if (++tries < 3) throw new Error('the superuser is away')
    }
    const managed = managedOn(server, { secure })
    assert.is(await failure(managed.ready()), 'the superuser is away')
    assert.is(await failure(managed.declare(newCluster())), 'the superuser is away')
    await managed.declare(newCluster())
    await managed.ready()
    assert.is(tries, 3)
    await managed.close()
  })

  test('a cluster declared by ten at once has one schema, closed to all but its owner and its reader', async () => {
    const cluster = newCluster()
    const owner = ownerRole(cluster)
    await oneManaged((managed) => Promise.all(Array.from({ length: 10 }, () => managed.declare(cluster))))
    const inside = server.superuser('rollcall_k3s')
    const [schema] = await inside`
      select pg_get_userbyid(nspowner) as owner, has_schema_privilege(${readerRole(cluster)}, oid, 'usage') as seen,
        has_schema_privilege(${readerRole(cluster)}, oid, 'create') as written,
        has_schema_privilege('k3s_nodes', oid, 'usage') as others
      from pg_namespace where nspname = ${owner}`
    assert.equal(schema, { owner, seen: true, written: false, others: false })
  })

  test('clusters that an earlier release declared can be read, but for one whose servers hold its schema', async () => {
    const [cluster, held] = [newCluster(), newCluster()]
    const enrollment = newEnrollment()
    await oneManaged(async (managed) => {
      for (const one of [cluster, held]) await managed.declare(one)
      await managed.makeLogin(held, enrollment, passwordOf(enrollment))
    })
    const inside = server.superuser('rollcall_k3s')
    for (const one of [cluster, held]) await inside.unsafe(`drop function rollcall_read.${ownerRole(one)}(text)`)
    const node = nodeSession(server, enrollment)
    const read = (one: string) => oneManaged(async (managed) => managed.ready().then(() => namesIn(managed, one)))
    await node.begin(async (tx) => {
      await tx.unsafe(`grant usage on schema ${ownerRole(held)} to k3s_nodes`)
      assert.equal([await read(cluster), await read(held)], ['absent', 'late'])
    })
    assert.is(await read(held), 'absent')
    await node.end()
  })

  test('readers of an earlier release, which shared a schema with their guard that all could look into, are renewed', async () => {
    const [cluster, enrollment] = [newCluster(), newEnrollment()]
    const owner = ownerRole(cluster)
    await oneManaged(async (managed) => {
      await managed.declare(cluster)
      await managed.makeLogin(cluster, enrollment, passwordOf(enrollment))
    })
    const inside = server.superuser('rollcall_k3s')
    await inside.unsafe(`alter function rollcall_guard.guard set schema rollcall_read; drop schema rollcall_guard;
      grant usage on schema rollcall_read to public; revoke usage on schema rollcall_read from rollcall_observer;
      create or replace function rollcall_read.${owner}(reading text) returns setof record language plpgsql volatile security definer
        set search_path = '' as $$ begin return query execute rollcall_read.guard('${owner}', reading); end $$`)
    const node = nodeSession(server, enrollment)
    await node.unsafe(`${kineTable}; create view v as select rollcall_read.guard('', '')`)
    const read = () => oneManaged(async (managed) => managed.ready().then(() => namesIn(managed, cluster)))
    const former = async () =>
      (await inside`select to_regprocedure('rollcall_read.guard(text, text)') is not null as there`)[0]?.there
    assert.equal(await read(), [])
    assert.is(
      await refusal(node.unsafe(`create view w as select * from rollcall_read.${owner}('') as t(i int)`)),
      '42501',
    )
    assert.is(
      await refusal(node.unsafe('create function rollcall_guard.f() returns int language sql return 1')),
      '42501',
    )
    assert.is(await former(), true)
    await node.unsafe('drop view v')
    assert.equal(await read(), [])
    assert.is(await former(), false)
    await node.end()
  })

  test('starts though the servers of three clusters change their schemas without end', async () => {
    const [cluster, ...hostile] = Array.from({ length: 4 }, newCluster) as [string, ...string[]]
    const enrollments = hostile.map(newEnrollment)
    await oneManaged(async (managed) => {
      for (const one of [cluster, ...hostile]) await managed.declare(one)
      for (const [i, one] of hostile.entries())
        await managed.makeLogin(one, enrollments[i] as string, passwordOf(enrollments[i] as string))
    })
    const inside = server.superuser('rollcall_k3s')
    for (const one of [cluster, ...hostile]) await inside.unsafe(`drop function rollcall_read.${ownerRole(one)}(text)`)
    let on = true
    const loops = hostile.map(async (one, i) => {
      const node = nodeSession(server, enrollments[i] as string)
      const schema = ownerRole(one)
      const what = `grant usage on schema ${schema} to k3s_nodes; revoke usage on schema ${schema} from k3s_nodes`
      const change = () => node.begin(async (tx) => [await tx.unsafe(what), await sleep(150)])
      // Whoever starts grants something on the same schema: "tuple concurrently updated" goes to one of the two, and may go to this one.
      while (on) assert.ok([undefined, 'XX000'].includes(await refusal(change())))
      await node.end()
    })
    await sleep(200)
    const begun = Date.now()
    try {
      assert.equal(await oneManaged(async (managed) => managed.ready().then(() => namesIn(managed, cluster))), 'absent')
      assert.ok(Date.now() - begun < 20_000)
    } finally {
      on = false
      await Promise.all(loops)
    }
    for (const one of hostile)
      assert.is(await oneManaged(async (managed) => managed.ready().then(() => namesIn(managed, one))), 'absent')
  })

  test('starts though there is a schema whose name only looks like one of ours', async () => {
    const inside = server.superuser('rollcall_k3s')
    const name = `k3s_${'ilou'.repeat(7).slice(0, 26)}`
    await inside.unsafe(`create role ${name}; create schema ${name} authorization ${name}`)
    await oneManaged((managed) => managed.ready())
    await inside.unsafe(`drop schema ${name}; drop role ${name}`)
  })

  test('a schema that its own nodes dropped is made again', async () => {
    const [cluster, enrollment] = [newCluster(), newEnrollment()]
    await oneManaged(async (managed) => {
      await managed.declare(cluster)
      await managed.makeLogin(cluster, enrollment, passwordOf(enrollment))
      const node = nodeSession(server, enrollment)
      await node.unsafe(`drop schema ${ownerRole(cluster)} cascade`)
      assert.is(await refusal(node.unsafe('create table kine (id int)')), '3F000')
      await managed.declare(cluster)
      await node.unsafe(kineTable)
      assert.equal(await namesIn(managed, cluster), [])
      await node.end()
    })
  })

  test('purging drops a cluster whole, whatever its nodes left, and no other', async () => {
    const [cluster, other, enrollment] = [newCluster(), newCluster(), newEnrollment()]
    await oneManaged(async (managed) => {
      await Promise.all([managed.declare(cluster), managed.declare(other)])
      await managed.makeLogin(cluster, enrollment, passwordOf(enrollment))
      const node = nodeSession(server, enrollment)
      await node.unsafe("create table kine (id int); select lo_create(0); create type mine as enum ('a')")
      await node.unsafe(`grant usage on schema ${ownerRole(cluster)} to public; create view v as select * from kine`)
      await node.end()
      await managed.dropLogin(cluster, enrollment)
      await managed.purge(cluster)
      await managed.purge(cluster)
    })
    const inside = server.superuser('rollcall_k3s')
    const left =
      await inside`select nspname from pg_namespace where nspname in (${ownerRole(cluster)}, ${ownerRole(other)})`
    assert.equal(
      left.map((row) => row.nspname),
      [ownerRole(other)],
    )
    assert.is(
      (await inside`select from pg_roles where rolname in (${ownerRole(cluster)}, ${readerRole(cluster)})`).length,
      0,
    )
    assert.is((await inside`select from pg_largeobject_metadata`).length, 0)
  })

  test('our own database is closed to every login of a cluster', async () => {
    const sql = postgres(server.url, { max: 1 })
    const [row] = await sql`select has_database_privilege('rollcall_observer', 'rollcall', 'connect') as observer,
      has_database_privilege('k3s_nodes', 'rollcall', 'connect') as nodes`
    assert.equal(row, { observer: false, nodes: false })
    await sql.end()
  })
}
