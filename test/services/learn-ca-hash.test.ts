import { eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { learnCaHash } from '../../src/services/learn-ca-hash.ts'
import { renewLease } from '../../src/services/renew-lease.ts'
import { clusters } from '../../src/store/declared-schema.ts'
import { audit } from '../../src/store/server-schema.ts'
import { addCluster, makeWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('learnCaHash and renewLease')

const [one, two] = ['11'.repeat(32), '22'.repeat(32)] as const
const datastore = { kind: 'postgres', endpoint: 'postgres://k3s:pw@db.test:5432/k3s' } as const
let world: World
let count = 0

test.before(async () => {
  world = await makeWorld()
})
test.after(() => world.end())

const initializing = async (change: Parameters<typeof addCluster>[1] = {}) => {
  const until = new Date((world.now() + 100) * 1000)
  const lease = { initializerDeviceId: 'dev_a', initializerUntil: until }
  const name = `ca-${++count}`
  return addCluster(world, { name, caHash: null, state: 'initializing', datastore, ...lease, ...change })
}
const clusterOf = async (id: string) => {
  const [row] = await world.db.select().from(clusters).where(eq(clusters.id, id))
  return row as NonNullable<typeof row>
}
const alarms = async () =>
  (await world.db.select().from(audit).where(eq(audit.action, 'cluster.alarm.ca_hash'))).map((a) => a.target)
const say = (clusterId: string, deviceId: string, caHash: string) =>
  learnCaHash(world, { clusterId, caHash, from: { deviceId } })

test('knows nothing of a cluster that is off the roll', async () => {
  const id = await initializing({ deletedAt: new Date() })
  assert.is(await say(id, 'dev_a', one), 'known')
  assert.is((await clusterOf(id)).caHash, null)
})

test('stops the line for a liar, and raises one alarm however many say it at once', async () => {
  const id = await initializing()
  assert.is(await say(id, 'dev_b', two), 'unheard')
  assert.is(await say(id, 'dev_a', one), 'learned')
  const said = await Promise.all(Array.from({ length: 8 }, (_, n) => say(id, `dev_${n}`, two)))
  assert.is(said.filter((kind) => kind === 'differs').length, 1)
  const row = await clusterOf(id)
  assert.is(row.state, 'stuck')
  assert.is(row.caHash, one)
  assert.match(row.stuckReason ?? '', /two CA hashes/)
  assert.equal(await alarms(), [`cluster:${row.name}`])
})

test('tells the log of a word that is not heard once, and again when it changes', async () => {
  const id = await initializing()
  const told: string[] = []
  const log = { warn: ({ from }: { from: { deviceId: string } }) => told.push(from.deviceId) } as never
  for (const [deviceId, caHash] of [
    ['dev_b', two],
    ['dev_b', two],
    ['dev_c', two],
    ['dev_b', one],
    ['dev_b', one],
  ] as const) {
    assert.is(await learnCaHash({ ...world, log }, { clusterId: id, caHash, from: { deviceId } }), 'unheard')
  }
  assert.equal(told, ['dev_b', 'dev_c', 'dev_b'])
})

test('brings the cluster up, ends the lease, counts the change; a second server confirms', async () => {
  const id = await initializing()
  const before = await clusterOf(id)
  await say(id, 'dev_a', one)
  const row = await clusterOf(id)
  assert.equal([row.state, row.caHash, row.caHashFrom, row.initializerDeviceId], ['up', one, 'dev_a', null])
  assert.is(row.version, before.version + 1)
  assert.is(await say(id, 'dev_a', one), 'known')
  assert.is((await clusterOf(id)).version, row.version)
  assert.is(await say(id, 'dev_b', one), 'confirmed')
  assert.not((await clusterOf(id)).caHashConfirmedAt === null)
})

test('leaves a compromised cluster compromised, with one alarm', async () => {
  const id = await initializing({ state: 'compromised', caHash: one })
  const before = (await alarms()).length
  assert.is(await say(id, 'dev_a', two), 'differs')
  assert.is(await say(id, 'dev_a', two), 'known')
  assert.is((await clusterOf(id)).state, 'compromised')
  assert.is((await alarms()).length, before + 1)
})

test('renews the turn of the first server only, and ends a stop that was for want of it', async () => {
  const id = await initializing({ state: 'stuck', stuckReason: 'its turn ran out' })
  const was = await clusterOf(id)
  await renewLease(world, { clusterId: id, deviceId: 'dev_b' })
  assert.equal(await clusterOf(id), was)
  await renewLease(world, { clusterId: id, deviceId: 'dev_a' })
  const row = await clusterOf(id)
  assert.equal([row.state, row.stuckReason], ['initializing', null])
  assert.is(row.initializerUntil?.getTime(), (world.now() + 900) * 1000)

  const upId = await initializing({ state: 'up', caHash: one })
  const up = await clusterOf(upId)
  await renewLease(world, { clusterId: upId, deviceId: 'dev_a' })
  assert.equal(await clusterOf(upId), up)
})
