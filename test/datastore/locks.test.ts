import { setTimeout as sleep } from 'node:timers/promises'
import postgres, { type Sql } from 'postgres'
import * as assert from 'uvu/assert'
import type { Hoarder } from '../../src/datastore/lock-watch.ts'
import { connectObserver } from '../../src/datastore/observer.ts'
import {
  clustersDatabase,
  loginPassword,
  loginRole,
  observerRole,
  sharedLoginPassword,
} from '../../src/k3s/datastore-names.ts'
import { closeAdvisoryLocks } from '../../src/postgres/advisory-locks.ts'
import { punish, startLockWatch } from '../../src/services/lock-watch.ts'
import { noteLogin } from '../../src/store/gate-logins.ts'
import { FakeDevice } from '../fakes/device.ts'
import { addEnrollment } from '../fakes/enrollment.ts'
import { addCluster, addDevice, addProfile, makeManagedWorld } from '../fakes/world.ts'
import { suite } from '../suite.ts'
import { majors, type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'
import { kineTable } from './clusters.ts'
import { nodeSession, refusal } from './node.ts'

type World = Awaited<ReturnType<typeof makeManagedWorld>>
type Attack = { title: string; prepare?: string[]; sql: string; sessions: number }

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

/** What a node may do to have more locks than Postgres has room for; 11,000 on the servers of these tests. */
const attacks: Attack[] = [
  {
    title: 'advisory locks, in one statement',
    // As a subquery: in `from` all numbers are made before the first lock, and it would hold locks for a fiftieth of the time.
    sql: 'select count(pg_advisory_lock(g)) from (select generate_series(1, 10000000) g) numbers',
    sessions: 1,
  },
  {
    title: 'advisory locks, again and again in four sessions, whatever it is told',
    sql: `do $$ declare i bigint := pg_backend_pid() * 1000000::bigint; begin loop begin
      loop i := i + 1; perform pg_advisory_lock(i); end loop;
    exception when out_of_memory then null; end; end loop; end $$`,
    sessions: 4,
  },
  {
    title: 'tables that it made before',
    prepare: [0, 1, 2, 3].map(
      (k) =>
        `do $$ begin for i in ${k * 2000 + 1}..${k * 2000 + 2000} loop execute 'create table x' || i || ' (a int)'; end loop; end $$`,
    ),
    sql: `begin; lock table ${numbers(8_000).map((i) => `x${i}`)} in share mode; select pg_sleep(60)`,
    sessions: 2,
  },
  {
    title: 'transactions in transactions',
    prepare: ['create table t (a int)'],
    sql: `begin; ${'savepoint s; insert into t values (1); '.repeat(12_000)} select pg_sleep(60)`,
    sessions: 2,
  },
  {
    title: 'large objects',
    prepare: ['select count(lo_create(g)) from generate_series(20000, 32000) g'],
    sql: `begin; select count(lo_unlink(g::oid)) from generate_series(20000, 32000) g; select pg_sleep(60)`,
    sessions: 1,
  },
]

for (const major of majors) {
  const test = suite(`locks that a node takes, PostgreSQL ${major}`, { timeout: 30_000 })
  let server: Throwaway
  let world: World
  let profile: string
  let victim: Server
  const open: Sql[] = []
  let n = 0

  type Server = {
    clusterId: string
    cluster: string
    enrollmentId: string
    login: string
    session: (max?: number) => Sql
  }

  /** A cluster with one server, as redeem leaves it. */
  async function addServer(): Promise<Server> {
    const cluster = `c${++n}`
    const clusterId = await addCluster(world, { name: cluster, state: 'up', datastore: { kind: 'managed' } })
    await world.managed.declare(clusterId)
    const device = new FakeDevice(`SN-${n}`)
    const deviceId = await addDevice(world, device, { profile, cluster: clusterId })
    const enrollmentId = await addEnrollment(world, device.serial, { role: 'server', redeemed: true })
    await noteLogin(world.sql, { clusterId, deviceId, enrollmentId }, world.now())
    await world.managed.makeLogin(clusterId, enrollmentId, loginPassword(world.keys.nodePassword, enrollmentId))
    const session = (max = 1) => {
      const sql = nodeSession(server, enrollmentId, { max })
      open.push(sql)
      return sql
    }
    return { clusterId, cluster, enrollmentId, login: loginRole(enrollmentId), session }
  }

  test.before(async () => {
    server = await throwawayPostgres(major, { max_connections: '100' })
    const database = { url: server.url, close: async () => {} }
    world = await makeManagedWorld({ database, address: `localhost:${server.port}`, ca: server.ca })
    profile = await addProfile(world)
    await world.managed.ready()
    victim = await addServer()
    await victim.session().unsafe(kineTable)
  })
  test.after(async () => {
    await Promise.all(open.map((sql) => sql.end({ timeout: 1 })))
    await world?.end()
    await server?.stop()
  })

  const cluster = async (name: string) =>
    (await world.sql<{ state: string }[]>`select state from clusters where name = ${name}`)[0]?.state
  const mayLogIn = async (login: string) =>
    (await world.sql<{ may: boolean }[]>`select rolcanlogin as may from pg_roles where rolname = ${login}`)[0]?.may

  /** Writes until told to stop. @returns the longest time without a write, in milliseconds, and how often it was refused */
  async function writing(write: () => Promise<unknown>, signal: AbortSignal) {
    let [last, longest, refused] = [Date.now(), 0, 0]
    while (!signal.aborted) {
      try {
        await write()
        longest = Math.max(longest, Date.now() - last)
        last = Date.now()
      } catch {
        refused++
      }
      await sleep(10)
    }
    return { longest: Math.max(longest, Date.now() - last), refused }
  }

  /** Comes again as long as it may log in: one that is refused lets go at once, and may be away whenever somebody looks. */
  async function attack(mallory: Server, sql: string, sessions: number): Promise<void> {
    const until = Date.now() + 20_000
    const one = async () => {
      while (Date.now() < until) {
        const session = nodeSession(server, mallory.enrollmentId)
        const said = await refusal(session.unsafe(sql))
        await session.end({ timeout: 0 }).catch(() => {})
        if (/^28/.test(said ?? '')) return
      }
    }
    await Promise.all(numbers(sessions).map(one))
  }

  for (const { title, prepare = [], sql, sessions } of attacks) {
    test(`stops nobody else by ${title}`, async () => {
      const mallory = await addServer()
      const preparing = mallory.session()
      for (const statement of prepare) await preparing.unsafe(statement)
      const watch = startLockWatch(world)
      await sleep(700)
      const over = new AbortController()
      const [kine, roll] = [victim.session(), postgres(server.url, { max: 1, onnotice: () => {} })]
      open.push(roll)
      await Promise.all([kine`select 1`, roll`select 1`])
      const writers = [
        writing(() => kine.unsafe(`insert into kine (name, deleted, value) values ('a', 0, 'v')`), over.signal),
        writing(
          () =>
            roll`insert into alarms (device_id, about, at) select id, ${String(Math.random())}, now() from devices limit 1`,
          over.signal,
        ),
      ]
      const attacking = attack(mallory, sql, sessions)
      try {
        for (let i = 0; i < 200 && (await cluster(mallory.cluster).catch(() => '')) !== 'compromised'; i++)
          await sleep(100)
        assert.is(await mayLogIn(mallory.login), false, 'its login goes on')
        assert.is(await cluster(mallory.cluster), 'compromised')
      } finally {
        over.abort()
        await attacking
        await watch.stop()
      }
      for (const { longest, refused } of await Promise.all(writers)) {
        assert.ok(longest < 5_000, `nothing was written for ${longest} ms, ${refused} times refused`)
      }
      assert.is(await cluster(victim.cluster), 'up')
      assert.is(await mayLogIn(victim.login), true)
    })
  }

  test('keeps its login from nobody who ends it while the table is full', async () => {
    const mallory = await addServer()
    const watch = startLockWatch({ ...world, managed: { ...world.managed, fenceLogin: async () => {} } })
    await sleep(700)
    const { sql, sessions } = attacks[1] as Attack
    const attacking = attack(mallory, sql, sessions)
    try {
      await sleep(200)
      await world.managed.fenceLogin(mallory.enrollmentId)
      assert.is(await mayLogIn(mallory.login), false)
      await attacking
    } finally {
      await watch.stop()
    }
  })

  /** Has mallory fill the table while nobody looks, and looks once. @returns whom that look found */
  async function filledAndLookedAt(mallory: Server): Promise<Hoarder | undefined> {
    const kine = victim.session()
    await kine`select 1`
    const attacking = attack(mallory, (attacks[1] as Attack).sql, 1)
    await sleep(1_000)
    assert.is(await refusal(kine.unsafe('create table more (a int)')), '53200')
    const [hoarder] = await world.managed.locks.look()
    assert.is(hoarder?.role, mallory.login)
    await attacking
    await kine.unsafe('create table more (a int)')
    await kine.unsafe('drop table more')
    assert.is(await mayLogIn(mallory.login), false)
    return hoarder
  }

  test('fills the table where nobody looks, and is ended by the first look', async () => {
    const mallory = await addServer()
    await world.managed.locks.look()
    await world.managed.locks.look()
    const locks = (await filledAndLookedAt(mallory))?.locks ?? 0
    assert.ok(locks > 5_000, `${locks}`)
  })

  test('are given back where the login was made after the last look', async () => {
    await world.managed.locks.look()
    await world.managed.locks.look()
    await filledAndLookedAt(await addServer())
  })

  test('are given back where what is locked keeps others from the way around the table', async () => {
    const mallory = await addServer()
    const [preparing, second] = [mallory.session(), mallory.session()]
    const tables = numbers(1_900)
    for (let n = 0; n < tables.length; n += 100) {
      const some = tables.slice(n, n + 100)
      await preparing.unsafe(some.map((i) => `create table s${i} (a int)`).join('; '))
    }
    await world.managed.locks.look()
    await world.managed.locks.look()
    // A strong lock on a relation closes the fast path to a thousandth of all of them (lmgr/README).
    const share = (some: number[]) => `begin; lock table ${some.map((i) => `s${i}`).join()} in share mode`
    await preparing.unsafe(share(tables.slice(0, 950)))
    await second.unsafe(share(tables.slice(950)))
    await filledAndLookedAt(mallory)
  })

  test('are looked at again after every session of ours was ended', async () => {
    const mallory = await addServer()
    await world.managed.locks.look()
    await server.superuser()`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'rollcall'`
    const session = mallory.session()
    await session.unsafe('begin; select count(pg_advisory_lock(g)) from generate_series(1, 1001) g').catch(() => {})
    const seen: string[] = []
    for (let i = 0; i < 4 && seen.length === 0; i++) {
      seen.push(...(await world.managed.locks.look().catch(() => [])).map(({ role }) => role))
    }
    assert.equal(seen, [mallory.login])
  })

  test("of the observer's end the session that holds them, and are no cluster's fault", async () => {
    const own = { url: server.url, connection: {} }
    const password = sharedLoginPassword(world.keys.nodePassword, observerRole)
    const [reading, other] = [connectObserver(own, password), connectObserver(own, password)]
    open.push(reading, other)
    const alarms: unknown[] = []
    const log = Object.create(world.log, { error: { value: (about: unknown) => alarms.push(about) } })
    const watch = startLockWatch({ ...world, log })
    try {
      await sleep(700)
      await other.unsafe('begin; select count(pg_advisory_lock(g)) from generate_series(1, 800) g')
      await reading.unsafe('begin; select count(pg_advisory_lock(g)) from generate_series(1001, 1800) g')
      const [{ pid }] = (await reading`select pg_backend_pid() as pid`) as unknown as [{ pid: number }]
      await sleep(700)
      assert.equal(alarms, [])
      await reading.unsafe('select count(pg_advisory_lock(g)) from generate_series(1801, 2101) g')
      for (let i = 0; i < 20 && alarms.length === 0; i++) await sleep(100)
      assert.equal(alarms, [{ process: pid, locks: 1_101 }])
      await other`select 1`
      assert.equal([...(await world.sql`select from pg_stat_activity where pid = ${pid}`)], [])
    } finally {
      await watch.stop()
    }
    assert.is(await mayLogIn(observerRole), true)
    assert.is(await cluster(victim.cluster), 'up')
  })

  test('of the catalog that a node wants for itself are its end, while all others wait behind it', async () => {
    const mallory = await addServer()
    const [holding, wanting] = [mallory.session(), mallory.session()]
    await world.managed.locks.look()
    await world.managed.locks.look()
    await holding.unsafe('begin; select from pg_catalog.pg_roles limit 1')
    const wanted = refusal(wanting.unsafe('create rule r as on insert to pg_catalog.pg_authid do nothing'))
    const entering = server.superuser(clustersDatabase)
    await sleep(300)
    const entered = entering`select 1`
    assert.equal(await Promise.race([entered, sleep(300, 'waits')]), 'waits')
    const found = await world.managed.locks.look()
    assert.equal(
      found.map(({ role, alone }) => [role, alone]),
      [[mallory.login, true]],
    )
    await entered
    assert.ok(await wanted)
    assert.is(await mayLogIn(mallory.login), false)
    await punish(world, found[0] as Hoarder)
    const [told] =
      await world.sql`select detail ->> 'detail' as detail from events where name = 'alarm.datastore_locks' order by at desc, id desc limit 1`
    assert.is(
      told?.detail,
      "it wanted a table of PostgreSQL's catalog for itself, which all clusters share; its datastore login was ended",
    )
  })

  test('of the catalog are let go of where an admin waits for it', async () => {
    const watch = startLockWatch(world)
    try {
      await sleep(1_500)
      const admin = server.superuser(clustersDatabase)
      for (const name of ['pg_authid', 'pg_class', 'pg_index']) await admin.unsafe(`vacuum full pg_catalog.${name}`)
    } finally {
      await watch.stop()
    }
  })

  test('as K3s takes them are left alone', async () => {
    const honest = await addServer()
    const session = honest.session()
    // The catalog grows meanwhile, under locks of its own.
    let growing = true
    const looking = (async () => {
      while (growing) assert.equal(await world.managed.locks.look(), [])
    })()
    const columns = numbers(100).map((i) => `c${i} int`)
    for (const n of numbers(150)) await session.unsafe(`create table grows${n} (${columns})`)
    growing = false
    await looking
    await session.unsafe(`begin; ${kineTable} insert into kine (name) select g::text from generate_series(1, 10000) g`)
    assert.equal(await world.managed.locks.look(), [])
    await session.unsafe('commit')
  })

  test('are not advisory where a superuser closed those, and an admin hears where none did', async () => {
    const codes = async () => (await world.managed.warnings()).map(({ code }) => code)
    assert.equal(await codes(), ['loopback_address', 'advisory_locks'])
    await closeAdvisoryLocks(server.superuser(clustersDatabase))
    await closeAdvisoryLocks(server.superuser(clustersDatabase))
    assert.equal(await codes(), ['loopback_address'])
    const session = (await addServer()).session()
    for (const call of ['pg_advisory_lock(1)', 'pg_try_advisory_lock(1, 2)', 'pg_advisory_xact_lock_shared(1)']) {
      assert.is(await refusal(session.unsafe(`select ${call}`)), '42501', call)
    }
    assert.is(await refusal(session.unsafe(`${kineTable} insert into kine (name) values ('a')`)), undefined)
  })
}
