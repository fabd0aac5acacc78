import { setTimeout as sleep } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { connect } from '../../src/datastore/connect.ts'
import { guarded, readKine } from '../../src/datastore/guard.ts'
import type { ManagedDatastore } from '../../src/datastore/managed.ts'
import { connectObserver, openObserver } from '../../src/datastore/observer.ts'
import { endStuckReads } from '../../src/datastore/stuck-reads.ts'
import { clustersDatabase, observerRole, sharedLoginPassword } from '../../src/k3s/datastore-names.ts'
import { askManaged } from '../../src/services/ask-managed.ts'
import { type SilentProxy, silentProxy } from '../fakes/silent-proxy.ts'
import { suite } from '../suite.ts'
import { type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'
import { type Cluster, type Clusters, kineTable, makeClusters } from './clusters.ts'
import { key, managedOn } from './node.ts'

const test = suite('a PostgreSQL that says nothing any more', { timeout: 90_000 })
const token = 'f0'.repeat(32)
const query = {
  columns: 'id int8',
  text: (table: string) => `select id::int8 from only ${table} where id > 0 order by id`,
}

let server: Throwaway
let clusters: Clusters
let cluster: Cluster
let proxy: SilentProxy
let through: string
const closed: (() => Promise<unknown>)[] = []

test.before(async () => {
  server = await throwawayPostgres(18)
  clusters = makeClusters(server)
  cluster = await clusters.add()
  await cluster.node.unsafe(`${kineTable} insert into kine (name) values ('a')`)
})
test.before.each(async () => {
  proxy = await silentProxy(server.port)
  through = server.url.replace(`:${server.port}/`, `:${proxy.port}/`)
})
test.after.each(async () => {
  await proxy.close()
  await Promise.all(closed.splice(0).map((close) => close()))
})
test.after(async () => {
  await clusters?.close()
  await server?.stop()
})

/** An observer as the datastore opens it, with less patience; `own` is the way of our own role. */
function observing(own = through) {
  const sql = connect({ url: own, connection: {} }, { database: clustersDatabase, max: 2 })
  const observer = openObserver({
    connect: () => connectObserver({ url: through, connection: {} }, sharedLoginPassword(key, observerRole)),
    sessions: 1,
    patience: 4_000,
    onStuck: async (pid) => (await endStuckReads(sql, 2)).includes(pid as number),
  })
  closed.push(observer.close, () => sql.end({ timeout: 0 }))
  return observer
}
const codeOf = (work: Promise<unknown>) =>
  work.then(
    (value) => JSON.stringify(value),
    ({ code }) => code as string,
  )

test('is unavailable, and no cluster tampered with, for whoever asks for a bootstrap row', async () => {
  const managed: ManagedDatastore = managedOn(server, { url: through })
  closed.push(managed.close)
  await managed.ready()
  proxy.silence()
  assert.is(
    await codeOf(askManaged({ managed }, (one) => one.readBootstrap(cluster.id, token))),
    'datastore_unavailable',
  )
})

test('is told of as that where it fell silent between two reads', async () => {
  const observer = observing()
  assert.is((await readKine(observer, cluster.id, query)).kind, 'rows')
  proxy.silence()
  assert.is(await codeOf(readKine(observer, cluster.id, query)), 'OBSERVER_UNANSWERED')
  proxy.speak()
  assert.is((await readKine(observer, cluster.id, query)).kind, 'rows')
})

for (const [title, own] of [
  ['for us all', () => through],
  ['on this connection alone', () => server.url],
] as const) {
  test(`is told of as that where it fell silent while it read, ${title}`, async () => {
    const observer = observing(own())
    assert.is((await readKine(observer, cluster.id, query)).kind, 'rows')
    await cluster.node.begin(async (tx) => {
      await tx.unsafe('lock table kine in access exclusive mode')
      const reading = codeOf(readKine(observer, cluster.id, query))
      await sleep(250)
      proxy.silence()
      assert.is(await reading, 'OBSERVER_UNANSWERED')
    })
  })
}

test('is not what a read is that runs on in PostgreSQL: that is tampering', async () => {
  const mallory = await clusters.add()
  await mallory.node.unsafe(`${kineTable} create function stay() returns boolean immutable language plpgsql as $$ begin
      if session_user <> 'rollcall_observer' then return true; end if;
      perform set_config('transaction_timeout', '0', false);
      loop begin perform pg_sleep(1); exception when query_canceled then null; end; end loop; end $$;
    create index i on kine (id) where stay()`)
  const observer = observing()
  assert.is(await codeOf(clusters.unguarded(() => observer.run(guarded(mallory.id, query)))), 'OBSERVER_STUCK')
  assert.is((await readKine(observer, cluster.id, query)).kind, 'rows')
})
