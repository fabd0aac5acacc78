import { and, eq, isNull } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { clusters } from '../../../src/store/declared-schema.ts'
import { devices, enrollments } from '../../../src/store/schema.ts'
import { type Desk, openDesk, problemOf } from '../../fakes/desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('POST /v1/claim: the one server of a SQLite cluster starts over')

let desk: Desk
let cluster: string
let other: string
const server = new FakeDevice('SRV-1')
const agent = new FakeDevice('AGT-1')
const stranger = new FakeDevice('AGT-2')
const ids: Record<string, string> = {}

test.before(async () => {
  desk = await openDesk()
  const servers = await addProfile(desk.world, { name: 'servers', role: 'server', reenroll: 'always' })
  const agents = await addProfile(desk.world, { name: 'agents', role: 'agent' })
  cluster = await addCluster(desk.world, { name: 'site-a', caHash: null, state: 'virgin' })
  other = await addCluster(desk.world, { name: 'site-b' })
  ids.server = await addDevice(desk.world, server, { profile: servers, cluster })
  ids.agent = await addDevice(desk.world, agent, { profile: agents, cluster })
  ids.stranger = await addDevice(desk.world, stranger, { profile: agents, cluster: other })
})
test.after(() => desk.world.end())

const clusterOf = async (id: string) => {
  const [row] = await desk.world.db.select().from(clusters).where(eq(clusters.id, id))
  return { state: row?.state, caHash: row?.caHash }
}
const agentOf = async (id: string | undefined) => {
  const [row] = await desk.world.db
    .select({ mustRejoin: devices.mustRejoin, token: enrollments.joinSealed })
    .from(devices)
    .innerJoin(enrollments, eq(enrollments.deviceId, devices.id))
    .where(and(eq(devices.id, id as string), isNull(enrollments.endedAt)))
  return { mustRejoin: row?.mustRejoin, token: row?.token !== null }
}

test('leaves the cluster as it is at the first claim', async () => {
  assert.is((await desk.enrol(server)).status, 200)
  await desk.world.db
    .update(clusters)
    .set({ state: 'up', caHash: 'cd'.repeat(32), version: 2 })
    .where(eq(clusters.id, cluster))
  for (const device of [agent, stranger]) assert.is((await desk.enrol(device)).status, 200)
  assert.equal(await agentOf(ids.agent), { mustRejoin: false, token: true })
})

test('makes it virgin, clears its CA hash and its agents’ tokens, and lets other clusters be', async () => {
  assert.is((await desk.enrol(server)).status, 200)
  assert.equal(await clusterOf(cluster), { state: 'virgin', caHash: null })
  assert.equal(await agentOf(ids.agent), { mustRejoin: true, token: false })
  assert.is((await clusterOf(other)).state, 'up')
  assert.equal(await agentOf(ids.stranger), { mustRejoin: false, token: true })
})

test('lets an agent that had joined claim again, whatever its policy says: it joined a cluster that is no more', async () => {
  const joined = (id: string | undefined) =>
    desk.world.sql`update enrollments set joined_at = now() where device_id = ${id as string} and ended_at is null`
  const agents = await addProfile(desk.world, { name: 'once', role: 'agent', reenroll: 'never' })
  const strict = new FakeDevice('AGT-3')
  ids.strict = await addDevice(desk.world, strict, { profile: agents, cluster })
  const up = { state: 'up', caHash: 'ef'.repeat(32), version: 4 } as const
  await desk.world.db.update(clusters).set(up).where(eq(clusters.id, cluster))
  assert.is((await desk.enrol(strict)).status, 200)
  for (const id of [ids.agent, ids.strict, ids.stranger]) await joined(id)
  assert.is((await desk.enrol(strict)).status, 409)
  assert.is((await desk.enrol(stranger)).status, 409)

  assert.is((await desk.enrol(server)).status, 200)
  const waiting = await desk.enrol(strict)
  assert.is((await problemOf(waiting)).code, 'cluster_not_ready')
  await desk.world.db
    .update(clusters)
    .set({ ...up, version: 6 })
    .where(eq(clusters.id, cluster))
  for (const device of [strict, agent]) assert.is((await desk.enrol(device)).status, 200)
  for (const id of [ids.agent, ids.strict]) assert.equal(await agentOf(id), { mustRejoin: false, token: true })

  for (const id of [ids.agent, ids.strict]) await joined(id)
  for (const device of [strict, agent, stranger]) assert.is((await desk.enrol(device)).status, 409)
})

test('409 for a second server of an embedded etcd without api_endpoint: it has nowhere to join', async () => {
  const profileId = await addProfile(desk.world, { name: 'lone', role: 'server', reenroll: 'always' })
  const datastore = { kind: 'embedded-etcd' } as const
  const lone = await addCluster(desk.world, { name: 'site-d', datastore, apiEndpoint: null })
  const [first, second] = [new FakeDevice('LONE-1'), new FakeDevice('LONE-2')] as const
  for (const box of [first, second]) await addDevice(desk.world, box, { profile: profileId, cluster: lone })
  for (const box of [first, first]) assert.is((await desk.enrol(box)).status, 200)
  const refused = await problemOf(await desk.enrol(second))
  assert.equal([refused.status, refused.code], [409, 'state_conflict'])
  await desk.world.db
    .update(clusters)
    .set({ apiEndpoint: 'https://k3s.example:6443', version: 2 })
    .where(eq(clusters.id, lone))
  assert.is((await desk.enrol(second)).status, 200)
})

test('with embedded etcd the last server does so, and none that leaves another behind', async () => {
  const profileId = await addProfile(desk.world, { name: 'etcd', role: 'server', reenroll: 'always' })
  const datastore = { kind: 'embedded-etcd' } as const
  const etcd = await addCluster(desk.world, { name: 'site-c', datastore })
  const boxes = [new FakeDevice('ETCD-1'), new FakeDevice('ETCD-2')] as const
  for (const box of boxes) await addDevice(desk.world, box, { profile: profileId, cluster: etcd })
  // The first claim of a server begins nothing anew, nor does one while another was given the token.
  for (const box of boxes) {
    const document = await (await desk.enrol(box)).text()
    const ticket = /ROLLCALL_JOIN='([A-Za-z0-9_-]{40,})'/.exec(document)?.[1] as string
    assert.is((await desk.redeem(ticket, box.joinProof(await desk.nonce(), ticket))).status, 200)
  }
  assert.is((await desk.enrol(boxes[0])).status, 200)
  assert.is((await clusterOf(etcd)).state, 'up')
  assert.is((await desk.enrol(boxes[1])).status, 200)
  assert.equal(await clusterOf(etcd), { state: 'virgin', caHash: null })
})
