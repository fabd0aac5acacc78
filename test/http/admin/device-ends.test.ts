import { and, eq, isNull } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { place } from '../../../src/services/cluster-view.ts'
import { tasks } from '../../../src/store/cluster-schema.ts'
import { clusters } from '../../../src/store/declared-schema.ts'
import { enrollments } from '../../../src/store/schema.ts'
import { type AdminDesk, openAdminDesk } from '../../fakes/admin-desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addEnrollment, type Live } from '../../fakes/enrollment.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('what revoke, retire and reinstate reach in a cluster')

let desk: AdminDesk
let profile: string
let count = 0
const postgres = { kind: 'postgres', endpoint: 'postgres://k3s:pw@db.test:5432/k3s' } as const
const etcd = { kind: 'embedded-etcd' } as const

test.before(async () => {
  desk = await openAdminDesk()
  profile = await addProfile(desk.world)
})
test.after(() => desk.world.end())

const cluster = (change: Parameters<typeof addCluster>[1] = {}) =>
  addCluster(desk.world, { name: `end-${++count}`, datastore: postgres, ...change })
async function member(clusterId: string, live: Live) {
  const device = new FakeDevice(`End-${++count}`)
  const id = await addDevice(desk.world, device, { profile, cluster: clusterId })
  const enrollment = await addEnrollment(desk.world, device.serial, live)
  return { id, serial: device.serial, name: device.serial.toLowerCase(), enrollment }
}
const agent = async (clusterId: string) => {
  const box = await member(clusterId, { state: 'ready', joined: true })
  await desk.world.db.update(enrollments).set({ joinTokenId: 'abcdef' }).where(eq(enrollments.id, box.enrollment))
  return box
}
const say = (serial: string, verb: string) => desk.call('POST', `/devices/${serial}/${verb}`)
const lastEvent = async (serial: string, name: string) => {
  const { items } = (await desk.call('GET', `/devices/${serial}/timeline`)).body
  return items.filter((event: { name: string }) => event.name === name).at(-1)?.detail
}
const queued = async (clusterId: string) => {
  const rows = await desk.world.db
    .select()
    .from(tasks)
    .where(and(eq(tasks.clusterId, clusterId), isNull(tasks.doneAt)))
    .orderBy(tasks.id)
  return rows.map((row) => `${row.verb} ${row.subject}`).sort()
}
const rowOf = async (id: string) => (await desk.world.db.select().from(clusters).where(eq(clusters.id, id)))[0]
const tokenOf = async (id: string) =>
  desk.world.vault.open(place.serverToken(id), (await rowOf(id))?.serverTokenSealed as Uint8Array).toString()

test('revoke of an agent: token, Node and name go; the answer says what waits, the timeline what remains', async () => {
  const id = await cluster()
  const box = await agent(id)
  const answer = await say(box.serial, 'revoke')
  assert.equal([answer.status, answer.body.state], [200, 'revoked'])
  assert.equal(await queued(id), [`node-ban ${box.name}`, `node-delete ${box.name}`, 'token-delete abcdef'])
  assert.is(answer.body.unfinished.length, 3)
  const { ends, remains } = await lastEvent(box.serial, 'revoked')
  assert.is(ends.length, 3)
  assert.match(remains[0], 'kubelet')
  assert.is((await rowOf(id))?.state, 'up')

  await desk.world.db.update(tasks).set({ doneAt: new Date(), result: 'ok' }).where(eq(tasks.clusterId, id))
  assert.equal((await desk.call('GET', `/devices/${box.serial}`)).body.unfinished, [])
})

test('retire: token and Node go, its name is not banned, nothing remains', async () => {
  const id = await cluster()
  const box = await agent(id)
  assert.is((await say(box.serial, 'retire')).body.state, 'retired')
  assert.equal(await queued(id), [`node-delete ${box.name}`, 'token-delete abcdef'])
  assert.equal((await lastEvent(box.serial, 'retired')).remains, [])
  // Distrusted later: what is still to be done is added.
  await say(box.serial, 'revoke')
  assert.equal(await queued(id), [`node-ban ${box.name}`, `node-delete ${box.name}`, 'token-delete abcdef'])
})

test('revoke of a server that knew the token: the cluster is compromised, and its timeline names what to change', async () => {
  const id = await cluster()
  const box = await member(id, { role: 'server', state: 'ready', joined: true, redeemed: true })
  await member(id, { role: 'server', state: 'ready', joined: true, redeemed: true })
  await say(box.serial, 'revoke')
  assert.is((await rowOf(id))?.state, 'compromised')
  assert.equal(await queued(id), [`node-ban ${box.name}`, `node-delete ${box.name}`])
  const { remains } = await lastEvent(box.serial, 'revoked')
  assert.match(remains.join(), 'verb rotated')
  assert.match(remains.join(), 'change that password')

  const other = await cluster()
  const fresh = await member(other, { role: 'server' })
  await say(fresh.serial, 'revoke')
  assert.is((await rowOf(other))?.state, 'up')
  assert.equal((await lastEvent(fresh.serial, 'revoked')).remains, [])
})

test('the last server of an embedded etcd takes its cluster along; one of several does not', async () => {
  const id = await cluster({ datastore: etcd })
  const [one, two] = [
    await member(id, { role: 'server', state: 'ready', joined: true, redeemed: true }),
    await member(id, { role: 'server', state: 'ready', joined: true, redeemed: true }),
  ]
  const before = await tokenOf(id)
  await say(one.serial, 'retire')
  assert.equal([(await rowOf(id))?.state, await queued(id)], ['up', [`node-delete ${one.name}`]])
  await say(two.serial, 'revoke')
  const row = await rowOf(id)
  assert.equal([row?.state, row?.caHash, await queued(id)], ['virgin', null, []])
  assert.is.not(await tokenOf(id), before)
  assert.match((await lastEvent(two.serial, 'revoked')).ends[0], 'virgin')
})

test('the turn of a first server that is gone is free if it never got the token, else for the gate to judge', async () => {
  const until = new Date((desk.world.now() + 500) * 1000)
  const turn = { state: 'initializing', caHash: null, initializerUntil: until }
  for (const redeemed of [false, true]) {
    const id = await cluster()
    const box = await member(id, { role: 'server', redeemed })
    await desk.world.db
      .update(clusters)
      .set({ ...turn, initializerDeviceId: box.id })
      .where(eq(clusters.id, id))
    await say(box.serial, 'retire')
    const row = await rowOf(id)
    const left = row?.initializerUntil && row.initializerUntil.getTime() / 1000 - desk.world.now()
    assert.equal([row?.initializerDeviceId ?? null, left], redeemed ? [box.id, 0] : [null, null])
  }
})

test('reinstate withdraws a ban that nobody fetched, and says how to lift one that is there', async () => {
  const id = await cluster()
  const [early, late] = [await agent(id), await member(id, { state: 'ready', joined: true })]
  for (const box of [early, late]) await say(box.serial, 'revoke')
  await desk.world.db.update(tasks).set({ sentAt: new Date() }).where(eq(tasks.subject, late.name))
  for (const box of [early, late]) assert.is((await say(box.serial, 'reinstate')).body.state, 'registered')
  const bans = (await queued(id)).filter((task) => task.startsWith('node-ban'))
  assert.equal(bans, [`node-ban ${late.name}`])
  assert.is((await lastEvent(early.serial, 'reinstated')).remains, undefined)
  assert.match((await lastEvent(late.serial, 'reinstated')).remains[0], `rollcall-ban-${late.name}`)
})
