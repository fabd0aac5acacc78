import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import * as assert from 'uvu/assert'
import { guarded, type KineQuery, type KineRead, readKine } from '../../src/datastore/guard.ts'
import { listQuery, newsQuery } from '../../src/datastore/kine-look.ts'
import type { Observer } from '../../src/datastore/observer.ts'
import { endStuckReads } from '../../src/datastore/stuck-reads.ts'
import { bootstrapName } from '../../src/k3s/bootstrap.ts'
import { suite } from '../suite.ts'
import { majors, type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'
import { type Cluster, type Clusters, kineTable, makeClusters } from './clusters.ts'

const bootstrap = bootstrapName('f0'.repeat(32))
const everything: KineQuery = {
  columns: 'id int8, name text, value bytea',
  text: (table) => `select id::int8, name::text, value from only ${table} where id > 0 order by id limit 100`,
}
const ids: KineQuery = { columns: 'id int8', text: (table) => `select id::int8 from only ${table} where id > 3` }

const news = newsQuery(bootstrap, [], { from: '-1', anchor: '1' })

/** What a server of a cluster makes of its own table, and what the guard says to it. `victim` is the schema of another cluster. */
type Attack = { title: string; sql: string; what: RegExp }

const attacks: Attack[] = [
  {
    title: 'a view that calls a function',
    sql: 'create view kine as select id, name, created, deleted, create_revision, prev_revision, lease, value, old_value from real where spy()',
    what: /no plain table/,
  },
  { title: 'a materialized view', sql: 'create materialized view kine as select * from real', what: /is no table/ },
  { title: 'a sequence', sql: 'create sequence kine', what: /is no table/ },
  { title: 'a composite type', sql: 'create type kine as (id bigint)', what: /is no plain table/ },
  { title: 'an index', sql: 'create index kine on real (id)', what: /is no table/ },
  {
    title: 'a partitioned table',
    sql: 'create table kine (like real) partition by range (id); create table part partition of kine default',
    what: /no plain table/,
  },
  {
    title: 'a partition of another table',
    sql: 'create table whole (like real) partition by range (id); create table kine partition of whole default',
    what: /no plain table/,
  },
  { title: 'a rule', sql: `${kineTable} create rule r as on insert to kine do also select spy()`, what: /rules/ },
  {
    title: 'row security with a function',
    sql: `${kineTable} insert into kine (name) values ('x'); create policy p on kine using (spy()); alter table kine enable row level security`,
    what: /row security/,
  },
  { title: 'a table that inherits', sql: 'create table kine () inherits (real)', what: /inherits/ },
  { title: 'a table that is inherited', sql: `${kineTable} create table heir () inherits (kine)`, what: /inherits/ },
  {
    title: 'a column of a domain with a function',
    sql: `create domain d as text check (spy()); ${kineTable.replace('name text', 'name d')}`,
    what: /other columns/,
  },
  {
    title: 'a column of an enum',
    sql: `create type e as enum ('a'); ${kineTable.replace('lease integer', 'lease e')}`,
    what: /other columns/,
  },
  {
    title: 'a column of its own row type',
    sql: `create type c as (a text); ${kineTable.replace('value bytea', 'value c')}`,
    what: /other columns/,
  },
  { title: 'an array', sql: kineTable.replace('value bytea', 'value bytea[]'), what: /other columns/ },
  {
    title: 'a collation of its own',
    sql: `create collation mine from "C"; ${kineTable.replace('collate "C"', 'collate mine')}`,
    what: /collation of its own/,
  },
  { title: 'one column more', sql: `${kineTable} alter table kine add more text`, what: /other columns/ },
  { title: 'one column less', sql: `${kineTable} alter table kine drop lease`, what: /other columns/ },
  {
    title: 'a generated column',
    sql: kineTable.replace('lease integer', 'lease integer generated always as (deleted + 1) stored'),
    what: /generated/,
  },
  {
    title: 'an index with a condition of its own',
    sql: `${kineTable} create index i on kine (id) where spy()`,
    what: /index on an expression/,
  },
  {
    title: 'an index on an expression of its own',
    sql: `${kineTable} create index i on kine ((spy()))`,
    what: /index on an expression/,
  },
  {
    title: 'statistics on an expression of its own',
    sql: `${kineTable} create statistics s on (spy() and id > 0), id from kine`,
    what: /extended statistics/,
  },
  {
    title: 'plain statistics',
    sql: `${kineTable} create statistics s on id, lease from kine`,
    what: /extended statistics/,
  },
  {
    title: 'a trigger',
    sql: `${kineTable} create trigger t before insert on kine execute function suppress_redundant_updates_trigger()`,
    what: /has triggers/,
  },
  {
    title: 'a default beside that of its ids',
    sql: `${kineTable} alter table kine alter lease set default 1`,
    what: /other defaults/,
  },
  {
    title: 'a default of many bytes',
    sql: `${kineTable} alter table kine alter id set default length(repeat('a', 5000) || '${'b'.repeat(5_000)}')`,
    what: /other defaults/,
  },
  {
    title: 'a check constraint',
    sql: `${kineTable} alter table kine add check (spy() or id > 0)`,
    what: /check constraint/,
  },
  {
    title: 'a table without a log',
    sql: kineTable.replace('create table', 'create unlogged table'),
    what: /not logged/,
  },
  {
    title: 'a table of a type',
    sql: 'create type shape as (id bigint); create table kine of shape',
    what: /of a type/,
  },
  { title: "a table of a login's own", sql: `set role none; ${kineTable}`, what: /may not be read/ },
  {
    title: 'a table that is closed to us',
    sql: `${kineTable} revoke all on kine from public; do $$ begin execute 'revoke all on kine from k3s_r_' || substr(current_schema, 5); end $$`,
    what: /may not be read/,
  },
]

for (const major of majors) {
  const test = suite(`hostile schema, PostgreSQL ${major}`, { timeout: 60_000 })
  let server: Throwaway
  let clusters: Clusters
  let victim: Cluster
  let observer: Observer
  let mallory: Cluster

  test.before(async () => {
    server = await throwawayPostgres(major, { log_min_messages: 'warning' })
    clusters = makeClusters(server)
    victim = await clusters.add()
    await victim.node.unsafe(`${kineTable} insert into kine (name, deleted, value) values ('crown jewels', 0, 'x')`)
    observer = clusters.observer()
  })
  test.before.each(async () => {
    mallory = await clusters.add()
    await mallory.node.unsafe(spy(victim.schema, mallory.schema))
    await mallory.node.unsafe(kineTable.replaceAll('kine', 'real'))
  })
  test.after(async () => {
    await clusters?.close()
    await server?.stop()
  })

  const read = (cluster: Cluster, query = everything) => readKine<Record<string, unknown>>(observer, cluster.id, query)
  /** What mallory's code said while somebody else ran it. */
  const told = () =>
    [...server.log().matchAll(/MALLORY (.*)/g)]
      .map(([, text]) => text)
      .filter((text) => text?.includes('rollcall_observer'))
  const expectTampered = (result: KineRead<unknown>, what: RegExp) => {
    assert.is(result.kind, 'tampered', JSON.stringify(result))
    if (result.kind === 'tampered') assert.match(result.what, what)
  }

  for (const { title, sql, what } of attacks) {
    test(`gets nothing by ${title}`, async () => {
      await mallory.node.unsafe(sql)
      expectTampered(await read(mallory), what)
      expectTampered(await read(mallory, listQuery(bootstrap, ['1'])), what)
      expectTampered(await read(mallory, news), what)
      assert.equal(told(), [])
    })
  }

  test('gets nothing by a virtual generated column', async () => {
    if (major < 18) return
    await mallory.node.unsafe(
      kineTable.replace('lease integer', 'lease integer generated always as (deleted + 1) virtual'),
    )
    expectTampered(await read(mallory), /generated/)
  })

  test('gets nothing by a foreign table', async () => {
    const superuser = server.superuser('rollcall_k3s')
    await superuser.unsafe(
      `create foreign data wrapper w; create server s foreign data wrapper w; grant usage on foreign server s to public`,
    )
    await mallory.node.unsafe('create foreign table kine (id bigint) server s')
    await superuser.unsafe('revoke usage on foreign server s from public')
    expectTampered(await read(mallory), /is no plain table/)
    await superuser.unsafe('drop foreign data wrapper w cascade')
  })

  test('gets nothing by functions and operators that are named like ours', async () => {
    await mallory.node.unsafe(`${kineTable} insert into kine (name, deleted, value) values ('a', 0, 'v');
      create function octet_length(bytea) returns int immutable language sql as 'select case when spy() then 1 end';
      create function substr(text, int) returns text immutable language sql as 'select case when spy() then $2::text end';
      create function "left"(text, int) returns text immutable language sql as 'select case when spy() then $1 end';
      create function encode(bytea, text) returns text immutable language sql as 'select case when spy() then $2 end';
      create function same(text, text) returns boolean immutable language sql as 'select spy()';
      create operator = (leftarg = text, rightarg = text, function = same)`)
    assert.is((await read(mallory, listQuery(bootstrap, []))).kind, 'rows')
    assert.is((await read(mallory, news)).kind, 'rows')
    assert.is((await read(mallory)).kind, 'rows')
    assert.equal(told(), [])
  })

  test('keeps others from nothing while it holds its table locked', async () => {
    await mallory.node.unsafe(kineTable)
    const holder = postgres(mallory.url, { max: 1, fetch_types: false })
    await holder.begin(async (tx) => {
      await tx.unsafe('lock table kine in access exclusive mode')
      const begun = Date.now()
      assert.equal(await read(mallory), { kind: 'late', what: 'somebody holds the table locked' })
      assert.ok(Date.now() - begun < 3_000)
      assert.is((await read(victim)).kind, 'rows')
    })
    await holder.end()
    assert.is((await read(mallory)).kind, 'rows')
  })

  test('takes no memory by values and numbers of rows', async () => {
    await mallory.node.unsafe(`${kineTable}
      insert into kine (name, deleted, value) values ('/registry/minions/big', 0, decode(repeat('00', 30000000), 'hex'));
      insert into kine (name, deleted, value) select '/registry/minions/n' || n, 0, decode(repeat('ab', 100000), 'hex') from generate_series(1, 100) n;
      insert into kine (name, deleted) select '/registry/minions/z' || n, 0 from generate_series(1, 10000) n`)
    const result = await read(mallory, listQuery(bootstrap, []))
    if (result.kind !== 'rows') throw new Error(JSON.stringify(result))
    const sent = result.rows.reduce((sum, { value }) => sum + Buffer.from(String(value ?? ''), 'base64').length, 0)
    assert.ok(sent > 3_000_000 && sent <= 4 * 1024 * 1024, `${sent}`)
    assert.is(result.rows.length, 10_001)
    assert.is(result.rows.find(({ name }) => String(name).endsWith('/big'))?.value, null)
    await mallory.node.unsafe(`delete from kine where octet_length(value) > 32768;
      insert into kine (name, deleted, value) select '/registry/minions/m' || n, 0, decode(repeat('ab', 32768), 'hex') from generate_series(1, 200) n`)
    const recent = await read(mallory, newsQuery(bootstrap, [], { from: '10102', anchor: '10102' }))
    if (recent.kind !== 'rows') throw new Error(JSON.stringify(recent))
    assert.is(recent.rows.length, 128)
    const brought = recent.rows.map(({ value }) => Buffer.from(String(value), 'base64').length)
    assert.ok(brought.every((length) => length === 32_768))
  })

  test('takes neither memory nor time by long names in a table without indexes', async () => {
    await mallory.node.unsafe(`${kineTable}
      drop index kine_name_index, kine_name_id_index, kine_name_prev_revision_uindex, kine_list_query_index;
      insert into kine (name, deleted, value) select '/registry/minions/' || n || repeat('x', 10000000), 0, 'v' from generate_series(1, 10) n;
      insert into kine (name, deleted) select '/registry/minions/n' || n, 0 from generate_series(1, 20000) n`)
    const begun = Date.now()
    assert.equal(await read(mallory, listQuery(bootstrap, [])), { kind: 'late', what: 'a read took too long' })
    assert.ok(Date.now() - begun < 8_000)
    assert.is((await read(victim)).kind, 'rows')
  })

  // The second wall, for what the check should miss: an index that is made between check and read. Here nothing checks.
  const unchecked = (one: Observer, cluster: Cluster) => clusters.unguarded(() => one.run(guarded(cluster.id, ids)))

  test('finds itself alone with its own rows where its code should run after all', async () => {
    await mallory.node.unsafe(`${kineTable} create index i on kine (id) where spy()`)
    const before = told().length
    await unchecked(observer, mallory)
    const said = told().slice(before)
    assert.ok(said.length > 0, 'its code did not run: the test proves nothing')
    assert.ok(
      said.every((line) => line?.includes('k3s_r_')),
      said.join('\n'),
    )
    assert.equal(
      said.filter((line) => line?.includes('GOT')),
      [],
      said.join('\n'),
    )
  })

  test('leaves nothing in the session for the next cluster, and sends nothing', async () => {
    const heard: string[] = []
    const ear = postgres(mallory.url, { max: 1, fetch_types: false })
    await ear.listen('leak', (text) => heard.push(text))
    await mallory.node.unsafe(`${kineTable} create index i on kine (id) where spy()`)
    const one = clusters.observer()
    const [clean] = await one.run(traces)
    assert.is(
      clean?.settings,
      'default_transaction_read_only=off,enable_seqscan=off,idle_in_transaction_session_timeout=5000,lock_timeout=100,statement_timeout=3000',
    )
    await unchecked(one, mallory)
    const [left] = await one.run(traces)
    assert.is(told().filter((line) => line?.includes('by deeds')).length, 0)
    assert.equal(left, clean)
    await sleep(200)
    assert.equal(heard, [])
    await ear.end()
  })

  test('ends nobody by code that does not end when it is told to', async () => {
    await mallory.node.unsafe(`${kineTable} create function stay() returns boolean immutable language plpgsql as $$ begin
        if session_user <> 'rollcall_observer' then return true; end if;
        if current_setting('transaction_timeout', true) is not null then perform set_config('transaction_timeout', '0', false); end if;
        loop begin perform pg_sleep(1); exception when query_canceled then null; end; end loop; end $$;
      create index i on kine (id) where stay()`)
    const own = postgres(server.url.replace('/rollcall?', '/rollcall_k3s?'), {
      max: 1,
      fetch_types: false,
      onnotice: () => {},
    })
    const ended: Promise<unknown>[] = []
    const one = clusters.observer({ patience: 4_000, onStuck: () => ended.push(endStuckReads(own, 3)) })
    try {
      await unchecked(one, mallory)
      assert.unreachable()
    } catch (error) {
      assert.is((error as { code?: string }).code, 'OBSERVER_STUCK')
    }
    assert.is((await readKine(one, victim.id, everything)).kind, 'rows')
    await Promise.all(ended)
    await sleep(500)
    assert.equal(
      [...(await own`select pid from pg_stat_activity where usename = 'rollcall_observer' and state = 'active'`)],
      [],
    )
    await own.end()
  })

  test('is read once the table is what K3s makes', async () => {
    assert.equal(await read(mallory), { kind: 'absent' })
    await mallory.node.unsafe(
      `${kineTable} create view v as select spy(); alter table kine drop lease; alter table kine add more text`,
    )
    expectTampered(await read(mallory), /other columns/)
    await mallory.node.unsafe(
      `drop table kine cascade; ${kineTable} insert into kine (name, value) values ('mine', 'v')`,
    )
    const result = await read(mallory)
    assert.equal(result.kind === 'rows' && result.rows.map(({ name }) => name), ['mine'])
    assert.equal(
      told().filter((line) => line?.includes('GOT')),
      [],
    )
  })

  test('is not read by the observer itself, nor by any cluster', async () => {
    await mallory.node.unsafe(kineTable)
    for (const sql of [`select 1 from ${mallory.schema}.kine`, `select 1 from ${victim.schema}.kine`]) {
      await assertRefused(observer.run(sql))
    }
    await assertRefused(mallory.node.unsafe(`select 1 from ${victim.schema}.kine`))
    await assertRefused(mallory.node.unsafe(`select * from rollcall_read.${victim.schema}('select 1') as t(i int)`))
    await assertRefused(
      mallory.node.unsafe('create function rollcall_read.f() returns int language sql as $$ select 1 $$'),
    )
  })
}

async function assertRefused(work: Promise<unknown>): Promise<void> {
  try {
    await work
  } catch (error) {
    assert.is((error as { code?: string }).code, '42501', (error as Error).message)
    return
  }
  assert.unreachable('was let')
}

/** A function that takes what it can get, and tells the log who ran it and what it got. Immutable, so that the planner runs it. */
const spy = (victim: string, own: string) => `
create function deeds() returns void language plpgsql as $deeds$ begin
  if session_user <> 'rollcall_observer' then return; end if;
  perform set_config('search_path', 'mallory', false), set_config('application_name', 'mallory', false), pg_advisory_lock(4711);
  perform set_config(name, '0', false) from unnest(array['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout']) name;
  perform set_config('default_transaction_read_only', 'on', false), set_config('enable_seqscan', 'on', false);
  perform pg_notify('leak', 'ran');
  execute 'prepare mallory as select 1';
  execute 'declare mallory cursor with hold for select 1';
  execute 'listen mallory';
end $deeds$;
create function spy() returns boolean immutable language plpgsql as $spy$
declare loot text; deed text; begin
  foreach deed in array array[
    'select string_agg(name, '','') from only ${victim}.kine',
    'select max(1)::text from rollcall_read.${victim}(''select 1'') as t(i int)',
    'select set_config(''role'', ''none'', false)',
    'select set_config(''session_authorization'', session_user, false)',
    'select set_config(''transaction_read_only'', ''off'', false)',
    'create temp table loot (t text)'
  ] loop
    begin
      execute deed into loot;
      raise warning 'MALLORY as % for %: GOT % by %', current_user, session_user, loot, deed;
    exception when others then
      raise warning 'MALLORY as % for %: % by %', current_user, session_user, sqlerrm, deed;
    end;
  end loop;
  perform ${own}.deeds();
  return true;
end $spy$;`

/** What a session could keep of one cluster for the next one. */
const traces = `select current_setting('search_path') as path, current_setting('application_name') as name, session_user as who,
  current_user as role, (select string_agg(s.name || '=' || s.setting, ',' order by s.name) from pg_settings s where s.name in
    ('default_transaction_read_only', 'enable_seqscan', 'idle_in_transaction_session_timeout', 'lock_timeout', 'statement_timeout')) as settings,
  (select count(*)::int from pg_prepared_statements where name = 'mallory') as statements,
  (select count(*)::int from pg_cursors where name = 'mallory') as cursors,
  (select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
  (select count(*)::int from pg_listening_channels()) as channels, pg_my_temp_schema()::text as temp`
