import { createCipheriv, pbkdf2Sync, randomBytes } from 'node:crypto'
import { eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { bootstrapName } from '../../src/k3s/bootstrap.ts'
import { caHash } from '../../src/k3s/ca-hash.ts'
import { clusterObserver } from '../../src/services/observe-clusters.ts'
import { startObserver } from '../../src/services/observer.ts'
import { nodes } from '../../src/store/cluster-schema.ts'
import { clusters as clusterRows } from '../../src/store/declared-schema.ts'
import { devices } from '../../src/store/schema.ts'
import { audit } from '../../src/store/server-schema.ts'
import { type Cluster, type Clusters, kineTable, makeClusters } from '../datastore/clusters.ts'
import { deleteNode, put, putNode, renewLease } from '../datastore/kine-rows.ts'
import { makeAuthority } from '../fakes/certificates.ts'
import { FakeDevice } from '../fakes/device.ts'
import { addEnrollment } from '../fakes/enrollment.ts'
import { addCluster, addDevice, addProfile, makeWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'
import { type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'

const test = suite('observing clusters', { timeout: 60_000 })
const token = 'f0'.repeat(32)

let server: Throwaway
let clusters: Clusters
let world: World
let profile: string
let count = 0

test.before(async () => {
  server = await throwawayPostgres(18)
  clusters = makeClusters(server)
})
test.before.each(async () => {
  world = await makeWorld()
  world.managed = clusters.managed
  profile = await addProfile(world)
})
test.after.each(() => world.end())
test.after(async () => {
  await clusters?.close()
  await server?.stop()
})

async function addManaged(change: Partial<typeof clusterRows.$inferInsert> = {}): Promise<Cluster> {
  const id = await addCluster(world, {
    name: `c-${++count}`,
    datastore: { kind: 'managed' } as never,
    state: 'initializing',
    caHash: null,
    ...change,
  })
  const cluster = await clusters.add(id)
  await cluster.node.unsafe(kineTable)
  return cluster
}

async function addBox(cluster: Cluster) {
  const device = new FakeDevice(`BOX-${++count}`)
  const id = await addDevice(world, device, { profile, cluster: cluster.id })
  await addEnrollment(world, device.serial)
  return { id, name: device.serial.toLowerCase() }
}

const newPass = () => clusterObserver(world, clusters.managed.observer)
const clusterOf = async ({ id }: Cluster) => {
  const [row] = await world.db.select().from(clusterRows).where(eq(clusterRows.id, id))
  return row as NonNullable<typeof row>
}
const nodesOf = async ({ id }: Cluster) =>
  (await world.db.select().from(nodes).where(eq(nodes.clusterId, id)).orderBy(nodes.name)).map(
    ({ name, ready, goneAt, deviceId }) => `${name} ${goneAt ? 'gone' : ready}${deviceId ? '' : ' stranger'}`,
  )
const stateOf = async (id: string) => (await world.db.select().from(devices).where(eq(devices.id, id)))[0]?.state
const alarms = async () => (await world.db.select().from(audit).orderBy(audit.id)).map(({ action }) => action)

/** Seals as K3s does (pkg/cluster/encrypt.go). */
function bootstrapValue(serverCa: string): Buffer {
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', pbkdf2Sync(token, 'aabb', 4096, 32, 'sha1'), iv)
  const plain = JSON.stringify({ ServerCA: { Content: Buffer.from(serverCa).toString('base64') } })
  const sealed = Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  return Buffer.from(`aabb:${sealed.toString('base64')}`)
}

test('keeps a table that was tampered with unread, raises one alarm, and says when it was mended', async () => {
  const cluster = await addManaged()
  const pass = newPass()
  await cluster.node.unsafe('alter table kine add more text')
  await pass()
  assert.is((await clusterOf(cluster)).observeTrouble, 'datastore_tampered: it has other columns')
  world.clock.now += 299
  await cluster.node.unsafe('alter table kine drop more')
  await putNode(cluster.node, 'a', 'ready')
  await pass()
  assert.equal(await nodesOf(cluster), [])
  await cluster.node.unsafe('alter table kine add more text')
  world.clock.now += 1
  await pass()
  assert.equal(await alarms(), ['cluster.alarm.datastore_tampered'])
  await cluster.node.unsafe('alter table kine drop more')
  world.clock.now += 300
  await pass()
  assert.is((await clusterOf(cluster)).observeTrouble, null)
  assert.equal(await alarms(), ['cluster.alarm.datastore_tampered', 'cluster.alarm.datastore_mended'])
  assert.equal(await nodesOf(cluster), ['a true stranger'])
})

test('does not let a cluster that holds its table keep others waiting, nor its own last state', async () => {
  const [held, other] = [await addManaged(), await addManaged()]
  const pass = newPass()
  await putNode(held.node, 'a', 'ready')
  await putNode(other.node, 'b', 'notReady')
  await pass()
  await held.node.begin(async (tx) => {
    await tx.unsafe('lock table kine in access exclusive mode')
    await putNode(other.node, 'b', 'ready')
    world.clock.now += 10
    await pass()
    assert.equal(await nodesOf(other), ['b true stranger'])
    assert.is((await clusterOf(held)).observeTrouble, null)
    world.clock.now += 21
    await pass()
    assert.match((await clusterOf(held)).observeTrouble ?? '', /somebody holds the table locked/)
  })
  world.clock.now += 60
  await pass()
  assert.is((await clusterOf(held)).observeTrouble, null)
  assert.equal(await nodesOf(held), ['a true stranger'])
})

test('looks seldom at a cluster that made up more Nodes than are looked at, and calls none of them gone', async () => {
  const cluster = await addManaged({ state: 'up' })
  await putNode(cluster.node, 'a', 'ready')
  const pass = newPass()
  await pass()
  await cluster.node.unsafe(
    "insert into kine (name, deleted) select '/registry/minions/0' || n, 0 from generate_series(1, 11000) n",
  )
  world.clock.now += 28
  await pass()
  assert.is((await clusterOf(cluster)).observeTrouble, 'it has more Nodes than are looked at')
  const shown = await nodesOf(cluster)
  assert.ok(shown.includes('a true stranger'))
  assert.is(shown.length, 1_000)
  const before = (await clusterOf(cluster)).observedAt
  world.clock.now += 200
  await pass()
  assert.equal((await clusterOf(cluster)).observedAt, before)
})

test('goes on with all others where one ends the session that it is read in, and makes that an alarm', async () => {
  const all = [await addManaged(), await addManaged(), await addManaged()]
  for (const { node } of all) await putNode(node, 'a', 'ready')
  await (all[1] as Cluster).node.unsafe(`create function quit() returns boolean immutable language plpgsql as $$ begin
      if session_user <> 'rollcall_observer' then return true; end if;
      perform set_config('exit_on_error', 'on', false);
      return 1 / 0 = 1; end $$;
    create index i on kine (id) where quit()`)
  await clusters.unguarded(newPass())
  assert.equal(await Promise.all(all.map(nodesOf)), [['a true stranger'], [], ['a true stranger']])
  const { observeTrouble } = await clusterOf(all[1] as Cluster)
  assert.is(observeTrouble, 'datastore_tampered: a read ended the session that it ran in')
  assert.equal(await alarms(), ['cluster.alarm.datastore_tampered'])
})

test('says that a bootstrap row is not of its token, and takes no CA from it', async () => {
  const cluster = await addManaged()
  const pass = newPass()
  await put(cluster.node, bootstrapName(token), Buffer.from('aabb:'.padEnd(100, 'A')))
  for (const wait of [0, 6]) {
    world.clock.now += wait
    await pass()
    const row = await clusterOf(cluster)
    assert.is(row.observeTrouble, 'its bootstrap row cannot be read: not of this token')
    assert.equal([row.state, row.bootstrap, row.caHash], ['initializing', 'ready', null])
  }
})

test('brings a cluster up once its bootstrap row is ready, with the CA hash that is in it', async () => {
  const cluster = await addManaged()
  const pass = newPass()
  const { pem } = await makeAuthority('k3s-server-ca')
  await pass()
  assert.is((await clusterOf(cluster)).bootstrap, 'virgin')
  await put(cluster.node, bootstrapName(token), Buffer.alloc(0))
  world.clock.now += 5
  await pass()
  assert.is((await clusterOf(cluster)).bootstrap, 'locked')
  await put(cluster.node, bootstrapName(token), bootstrapValue(pem))
  world.clock.now += 5
  await pass()
  const row = await clusterOf(cluster)
  assert.equal([row.state, row.bootstrap, row.caHash], ['up', 'ready', caHash(Buffer.from(pem))])
})

test('looks under the token that a cluster has now, however long ago its row was written', async () => {
  const cluster = await addManaged()
  const pass = newPass()
  const other = 'e1'.repeat(32)
  await put(cluster.node, bootstrapName(other), Buffer.alloc(0))
  await putNode(cluster.node, 'stranger', 'ready')
  for (const wait of [0, 30, 30]) {
    world.clock.now += wait
    await pass()
    assert.is((await clusterOf(cluster)).bootstrap, 'virgin')
  }
  const serverTokenSealed = world.vault.seal(`clusters/${cluster.id}/server_token`, other)
  await world.db.update(clusterRows).set({ serverTokenSealed }).where(eq(clusterRows.id, cluster.id))
  world.clock.now += 30
  await pass()
  assert.is((await clusterOf(cluster)).bootstrap, 'locked')
})

test('stops the line when the datastore shows another CA than was said', async () => {
  const cluster = await addManaged({ state: 'up', caHash: 'ab'.repeat(32), caHashFrom: 'dev_a' })
  await put(cluster.node, bootstrapName(token), bootstrapValue((await makeAuthority('other')).pem))
  await newPass()()
  assert.is((await clusterOf(cluster)).state, 'stuck')
  assert.equal(await alarms(), ['cluster.alarm.ca_hash'])
})

test('moves devices as their Nodes come, fall silent and go, and shows strangers and who is missing', async () => {
  const cluster = await addManaged({ state: 'up' })
  const [box, absent] = [await addBox(cluster), await addBox(cluster)]
  const pass = newPass()
  await putNode(cluster.node, box.name, 'notReady')
  await putNode(cluster.node, 'stranger', 'ready')
  await pass()
  assert.is(await stateOf(box.id), 'joined')
  assert.is(await stateOf(absent.id), 'enrolled')
  await putNode(cluster.node, box.name, 'ready')
  await renewLease(cluster.node, box.name)
  world.clock.now += 6
  await pass()
  assert.is(await stateOf(box.id), 'ready')
  assert.equal(await nodesOf(cluster), [`${box.name} true`, 'stranger true stranger'])
  world.clock.now += 130
  await pass()
  assert.equal(await nodesOf(cluster), [`${box.name} null`, 'stranger true stranger'])
  await deleteNode(cluster.node, box.name)
  world.clock.now += 30
  await pass()
  assert.equal(await nodesOf(cluster), [`${box.name} gone`, 'stranger true stranger'])
})

test('looks at a quiet cluster less often than at one that is being joined', async () => {
  const [quiet, busy] = [await addManaged({ state: 'up' }), await addManaged({ state: 'up' })]
  await addBox(busy)
  const pass = newPass()
  const seen = async () => [
    (await clusterOf(quiet)).observedAt?.getTime(),
    (await clusterOf(busy)).observedAt?.getTime(),
  ]
  await world.sql`update clusters set observe_after = to_timestamp(${world.clock.now})`
  await pass()
  const first = world.clock.now * 1000
  world.clock.now += 5
  await pass()
  assert.equal(await seen(), [first, first + 5_000])
  world.clock.now += 22
  await pass()
  assert.equal(await seen(), [first, first + 27_000])
  world.clock.now += 1
  await pass()
  assert.equal(await seen(), [first + 28_000, first + 27_000])
})

test('spreads over time those whose looks came due at the same moment', async () => {
  for (let n = 0; n < 30; n++) await addManaged({ state: 'up' })
  const pass = newPass()
  const dueIn = async () =>
    (
      await world.sql<{ seconds: number }[]>`
        select (extract(epoch from observe_after) - ${world.clock.now})::float8 as seconds from clusters where state = 'up' and deleted_at is null`
    ).map(({ seconds }) => seconds)
  await world.sql`update clusters set observe_after = to_timestamp(${world.clock.now - 60})`
  for (let more = true; more; ) more = await pass()
  const spread = await dueIn()
  assert.ok(spread.every((seconds) => seconds >= 0 && seconds <= 28))
  assert.ok(Math.max(...spread) - Math.min(...spread) > 10, spread.join())
  await world.sql`update clusters set observe_after = to_timestamp(${world.clock.now - 1})`
  for (let more = true; more; ) more = await pass()
  assert.equal([...new Set(await dueIn())], [28])
})

test('leaves a cluster to one of two servers at a time', async () => {
  const all = await Promise.all(Array.from({ length: 8 }, () => addManaged({ state: 'up' })))
  for (const { node } of all) await putNode(node, 'a', 'ready')
  const looks: string[] = []
  const counting = {
    ...clusters.managed.observer,
    runAll: (statements: readonly string[]) => {
      for (const statement of statements) looks.push(/k3s_[0-9a-z]{26}/.exec(statement)?.[0] as string)
      return clusters.managed.observer.runAll(statements)
    },
  }
  await Promise.all([1, 2, 3].map(() => clusterObserver(world, counting)()))
  assert.equal(looks.sort(), all.map(({ schema }) => schema).sort())
})

test('looks at a second cluster meanwhile where one takes long', async () => {
  const all = await Promise.all([addManaged({ state: 'up' }), addManaged({ state: 'up' })])
  for (const { node } of all) await putNode(node, 'a', 'ready')
  let release: (() => void) | undefined
  const slow = {
    ...clusters.managed.observer,
    runAll: async (statements: readonly string[]) => {
      if (release) release()
      else
        await new Promise<void>((done) => {
          release = done
        })
      return clusters.managed.observer.runAll(statements)
    },
  }
  await clusterObserver(world, slow)()
  for (const cluster of all) assert.equal(await nodesOf(cluster), ['a true stranger'])
})

test('goes on when Postgres was away, and reads everything again', async () => {
  const cluster = await addManaged()
  const { pem } = await makeAuthority('k3s-server-ca')
  await put(cluster.node, bootstrapName(token), bootstrapValue(pem))
  const away = { ...world, db: undefined as never }
  let down = true
  const context = {
    ...world,
    get db() {
      return down ? away.db : world.db
    },
  }
  const pass = clusterObserver(context, clusters.managed.observer)
  let failed = false
  await pass().catch(() => {
    failed = true
  })
  assert.ok(failed)
  down = false
  world.clock.now += 6
  await pass()
  assert.is((await clusterOf(cluster)).caHash, caHash(Buffer.from(pem)))
})

test('observes by itself until it is stopped, and survives a database that is gone', async () => {
  const cluster = await addManaged({ state: 'up' })
  await putNode(cluster.node, 'a', 'ready')
  const running = startObserver(world)
  for (let n = 0; n < 100 && (await nodesOf(cluster)).length === 0; n++)
    await new Promise((done) => setTimeout(done, 50))
  assert.equal(await nodesOf(cluster), ['a true stranger'])
  await world.close()
  await new Promise((done) => setTimeout(done, 1_200))
  await running.stop()
})
