import * as assert from 'uvu/assert'
import { guarded, type KineQuery, type KineRead, readKines } from '../../src/datastore/guard.ts'
import type { Outcome } from '../../src/datastore/read-messages.ts'
import { suite } from '../suite.ts'
import { majors, type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'
import { type Cluster, type Clusters, kineTable, makeClusters } from './clusters.ts'

const names: KineQuery = {
  columns: 'name text',
  text: (table) => `select name::text from only ${table} where id > 0 order by id limit 100`,
}

/** Whatever a session may keep of hostile code, from where the planner runs it. */
const deeds = `create function deeds() returns boolean immutable language plpgsql as $$ begin
  if session_user <> 'rollcall_observer' then return true; end if;
  raise warning 'DEEDS were done';
  perform set_config('search_path', 'mallory', false), set_config('application_name', 'mallory', false), set_config('statement_timeout', '0', false);
  perform set_config('standard_conforming_strings', 'off', false), set_config('transaction_read_only', 'on', false), pg_advisory_lock(4711);
  execute 'prepare mallory as select 1';
  execute 'declare mallory cursor with hold for select 1';
  execute 'listen mallory';
  return true;
end $$; create index deeds on kine (id) where deeds()`

/** What another read in the same message finds, and may do. */
const traces = `select current_setting('search_path') as path, current_setting('application_name') as name, session_user as who, current_user as role,
  current_setting('statement_timeout') as patience, current_setting('standard_conforming_strings') as strings,
  current_setting('transaction_read_only') as reads, (select count(*)::int from pg_prepared_statements where name = 'mallory') as statements,
  (select count(*)::int from pg_cursors where name = 'mallory') as cursors, (select count(*)::int from pg_listening_channels()) as channels,
  (select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
  (select count(*)::int from pg_locks where locktype = 'relation' and relation >= 16384 and pid = pg_backend_pid()) as tables`

for (const major of majors) {
  const test = suite(`reads of several clusters, PostgreSQL ${major}`, { timeout: 60_000 })
  let server: Throwaway
  let clusters: Clusters
  let all: Cluster[]

  test.before(async () => {
    server = await throwawayPostgres(major)
    clusters = makeClusters(server)
  })
  test.before.each(async () => {
    all = await Promise.all(Array.from({ length: 5 }, () => clusters.add()))
    for (const [n, { node }] of all.entries())
      await node.unsafe(`${kineTable} insert into kine (name) values ('of ${n}')`)
  })
  test.after(async () => {
    await clusters?.close()
    await server?.stop()
  })

  const nth = (n: number) => all[n] as Cluster
  const readAll = (observer = clusters.observer(), query = names) =>
    readKines<{ name: string }>(
      observer,
      all.map(({ id }) => ({ clusterId: id, query })),
    )
  const said = (reads: readonly KineRead<{ name: string }>[]) =>
    reads.map((read) => (read.kind === 'rows' ? read.rows.map(({ name }) => name).join() : read.kind))
  const others = (outcomes: readonly (Outcome | undefined)[]) =>
    outcomes.map((outcome) => (outcome && 'rows' in outcome ? outcome.rows[0] : outcome?.error))
  const unchecked = ({ id }: Cluster) => guarded(id, names)

  test('refuse the one whose table is not what K3s makes, and no other', async () => {
    await nth(0).node.unsafe('alter table kine add more text')
    await nth(2).node.unsafe('drop table kine; create view kine as select 1 as id')
    await nth(3).node.unsafe('drop table kine')
    assert.equal(said(await readAll()), ['tampered', 'of 1', 'tampered', 'absent', 'of 4'])
  })

  test('wait for the one whose table is held, and for it alone', async () => {
    const release: (() => void)[] = []
    const held = nth(1).node.begin(async (tx) => {
      await tx.unsafe('lock table kine in access exclusive mode')
      await new Promise<void>((done) => release.push(done))
    })
    while (release.length === 0) await new Promise((done) => setTimeout(done, 10))
    assert.equal(said(await readAll()), ['of 0', 'late', 'of 2', 'of 3', 'of 4'])
    release[0]?.()
    await held
  })

  test("leave nothing for the next one in the same message, where a cluster's code should run after all", async () => {
    await nth(0).node.unsafe(deeds)
    const observer = clusters.observer()
    const [clean] = await observer.run(traces)
    const outcomes = await clusters.unguarded(() =>
      observer.runAll([unchecked(nth(0)), traces, unchecked(nth(0)), traces]),
    )
    assert.equal(others([outcomes[1], outcomes[3]] as Outcome[]), [clean, clean])
    assert.match(server.log(), 'DEEDS were done')
  })

  test('give up the one that does not end when it is told to, and go on with the others', async () => {
    await nth(1).node.unsafe(`create function stay() returns boolean immutable language plpgsql as $$ begin
        if session_user <> 'rollcall_observer' then return true; end if;
        if current_setting('transaction_timeout', true) is not null then perform set_config('transaction_timeout', '0', false); end if;
        loop begin perform pg_sleep(1); exception when query_canceled then null; end; end loop; end $$;
      create index i on kine (id) where stay()`)
    let given = 0
    const observer = clusters.observer({ patience: 4_000, onStuck: () => given++ })
    const outcomes = await clusters.unguarded(() =>
      observer.runAll([unchecked(nth(0)), unchecked(nth(1)), unchecked(nth(2))]),
    )
    const codes = others(outcomes).map((one) => (one as { code?: string; id?: string }).code ?? 'read')
    assert.equal([codes, given], [['read', 'OBSERVER_STUCK', 'read'], 2])
    await server.superuser()`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'rollcall_observer' and state = 'active'`
  })

  test('bring all rows along, though there is no room for them at once', async () => {
    for (const { node } of all)
      await node.unsafe("insert into kine (value) select repeat('x', 1000000)::bytea from generate_series(1, 4)")
    const text = (table: string) => `select encode(value, 'escape') from only ${table} where id > 1 order by id`
    const reads = await readAll(clusters.observer(), { ...names, text })
    assert.equal(
      reads.map((read) => read.kind === 'rows' && read.rows.map(({ name }) => name.length)),
      all.map(() => [1_000_000, 1_000_000, 1_000_000, 1_000_000]),
    )
  })

  test('give up the one that ends its session again and again, and go on with the others', async () => {
    await nth(1).node.unsafe(`create function quit() returns boolean immutable language plpgsql as $$ begin
        if session_user <> 'rollcall_observer' then return true; end if;
        perform set_config('exit_on_error', 'on', false);
        return 1 / 0 = 1; end $$;
      create index i on kine (id) where quit()`)
    assert.equal(said(await clusters.unguarded(() => readAll())), ['of 0', 'tampered', 'of 2', 'of 3', 'of 4'])
  })

  test('are done again where an admin ends their session', async () => {
    const reading = readAll(clusters.observer(), {
      ...names,
      text: (table) => `select name::text from only ${table}, pg_catalog.pg_sleep(2)`,
    })
    for (let n = 0; n < 100; n++) {
      const [one] = await server.superuser()`
        select pg_terminate_backend(pid) as ended from pg_stat_activity where usename = 'rollcall_observer' and state = 'active'`
      if (one) break
      await new Promise((done) => setTimeout(done, 20))
    }
    assert.equal(said(await reading), ['of 0', 'of 1', 'of 2', 'of 3', 'of 4'])
  })

  test('say that Postgres is away where it is, and nothing of any cluster', async () => {
    const observer = clusters.observer()
    await readAll(observer)
    await server.restart(async () => {
      const code = await readAll(observer).then(
        () => 'read',
        (error) => error.code,
      )
      assert.match(code, /^(CONNECTION_CLOSED|ECONNREFUSED|57P03)$/)
    })
    assert.equal(said(await readAll(observer)), ['of 0', 'of 1', 'of 2', 'of 3', 'of 4'])
  })

  test('see what was committed last, whatever isolation an admin made the default, and resolve no name but in pg_catalog', async () => {
    const admin = server.superuser('rollcall_k3s')
    await admin.unsafe("alter database rollcall_k3s set default_transaction_isolation = 'serializable'")
    const [session] = await clusters
      .observer()
      .run("select current_setting('transaction_isolation') as isolation, current_setting('search_path') as path")
    await admin.unsafe('alter database rollcall_k3s reset default_transaction_isolation')
    assert.equal(session, { isolation: 'read committed', path: 'pg_catalog' })
  })

  test('that took long are followed by ones in a new session', async () => {
    const observer = clusters.observer()
    const who = async (text: string) => (await observer.run(`select pg_backend_pid() as pid${text}`))[0]?.pid
    const first = await who('')
    assert.is(await who(', pg_sleep(0.25)'), first)
    assert.is.not(await who(''), first)
  })
}
