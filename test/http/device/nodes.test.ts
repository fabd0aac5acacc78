import { eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { place } from '../../../src/services/cluster-view.ts'
import { nodes } from '../../../src/store/cluster-schema.ts'
import { clusters } from '../../../src/store/declared-schema.ts'
import { devices, enrollments } from '../../../src/store/schema.ts'
import { ClusterNode } from '../../fakes/cluster-node.ts'
import { type Desk, openDesk, problemOf } from '../../fakes/desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addEnrollment } from '../../fakes/enrollment.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('PUT /v1/nodes and /v1/kubeconfig')

let desk: Desk
let profile: string
let count = 0

test.before(async () => {
  desk = await openDesk()
  profile = await addProfile(desk.world)
})
test.after(() => desk.world.end())

async function site(change: Partial<typeof clusters.$inferInsert> = {}) {
  const cluster = await addCluster(desk.world, { name: `report-${++count}`, ...change })
  return { cluster, node: await ClusterNode.add(desk.world, desk.app, { profile, cluster }) }
}

async function agent(cluster: string) {
  const device = new FakeDevice(`REPORT-AGENT-${++count}`)
  const id = await addDevice(desk.world, device, { profile, cluster })
  await addEnrollment(desk.world, device.serial)
  return { id, name: device.serial.toLowerCase() }
}

const report = (...names: string[]) => ({
  ca_hash: 'ab'.repeat(32),
  nodes: names.map((name) => ({ name, ready: true, version: 'v1.36.3+k3s1' })),
  pods_not_running: 0,
})
const clusterOf = async (id: string) => (await desk.world.db.select().from(clusters).where(eq(clusters.id, id)))[0]
const stateOf = async (id: string) => (await desk.world.db.select().from(devices).where(eq(devices.id, id)))[0]?.state
const codeOf = async (answer: Promise<Response>) => {
  const { status, code } = await problemOf(await answer)
  return `${status} ${code}`
}

test('401 credential_invalid, soon after the credential ended as well', async () => {
  const { node } = await site()
  assert.is(await codeOf(Promise.resolve(desk.app.request('/v1/nodes', { method: 'PUT' }))), '401 credential_invalid')
  assert.is((await node.putNodes(report())).status, 204)
  await desk.world.db.update(enrollments).set({ endedAt: new Date() }).where(eq(enrollments.id, node.enrollmentId))
  desk.world.clock.now += 3
  assert.is(await codeOf(node.putNodes(report())), '401 credential_invalid')
})

test('until the gate let it in, a server has no word on the CA hash and gets no manifests', async () => {
  const { cluster } = await site({ caHash: null, state: 'virgin' })
  const early = await ClusterNode.add(desk.world, desk.app, { profile, cluster }, { redeemed: false })
  assert.is((await early.putNodes(report())).status, 204)
  assert.is((await clusterOf(cluster))?.caHash, null)
  assert.is((await early.ask('GET', '/v1/manifests')).status, 204)
})

test('401 credential_invalid for a server that a compromised cluster had not let in before', async () => {
  const { cluster, node } = await site({ state: 'compromised' })
  const early = await ClusterNode.add(desk.world, desk.app, { profile, cluster }, { redeemed: false })
  assert.is(await codeOf(early.putNodes(report())), '401 credential_invalid')
  assert.is(await codeOf(early.ask('PUT', '/v1/kubeconfig', '{}')), '401 credential_invalid')
  assert.is(await codeOf(early.ask('GET', '/v1/manifests')), '401 credential_invalid')
  assert.is(await codeOf(early.tell(`tsk_${'0'.repeat(26)} ok`)), '401 credential_invalid')
  assert.is((await node.putNodes(report())).status, 204)
})

test('400 request_invalid for a body that says anything else', async () => {
  const { node } = await site()
  const good = report('n1')
  for (const bad of [
    '',
    '[]',
    'null',
    '{',
    { ...good, ca_hash: 'AB'.repeat(32) },
    { ...good, ca_hash: undefined },
    { ...good, more: 1 },
    { ...good, nodes: [{ name: 'n1', ready: 'yes' }] },
    { ...good, nodes: [{ name: '', ready: true }] },
    { ...good, nodes: [{ name: 'n1', ready: true, cluster: 'other' }] },
    { ...good, pods_not_running: -1 },
    { ...good, pods_not_running: 1.5 },
  ])
    assert.is(await codeOf(node.putNodes(bad)), '400 request_invalid', JSON.stringify(bad))
})

test('413 body_too_large', async () => {
  const { node } = await site()
  assert.is(await codeOf(node.putNodes(' '.repeat(1_048_577))), '413 body_too_large')
  const escrowing = await site({ escrowKubeconfig: true })
  assert.is(await codeOf(escrowing.node.ask('PUT', '/v1/kubeconfig', 'x'.repeat(65_537))), '413 body_too_large')
})

test('204 and the devices of the cluster are joined and ready, with the name that they enrolled with alone', async () => {
  const [here, there] = [await site(), await site()]
  const [mine, theirs] = [await agent(here.cluster), await agent(there.cluster)]
  assert.is((await here.node.putNodes(report(mine.name, theirs.name, 'somebody', 'Hostile Name'))).status, 204)
  assert.equal([await stateOf(mine.id), await stateOf(theirs.id)], ['ready', 'enrolled'])
  const rows = await desk.world.db.select().from(nodes).where(eq(nodes.clusterId, here.cluster)).orderBy(nodes.name)
  assert.equal(
    rows.map(({ name, deviceId, source }) => [name, deviceId, source]),
    [
      [mine.name, mine.id, 'server'],
      [theirs.name, null, 'server'],
      ['somebody', null, 'server'],
    ].sort(),
  )
})

test('204 and the cluster is up once its initializer says its CA hash, and its lease is renewed until then', async () => {
  const { cluster, node } = await site({ caHash: null, state: 'initializing' })
  await desk.world.db
    .update(clusters)
    .set({ initializerDeviceId: node.deviceId, initializerUntil: new Date((desk.world.now() + 5) * 1000) })
    .where(eq(clusters.id, cluster))
  assert.is((await node.putNodes({ ...report(node.name), pods_not_running: 3 })).status, 204)
  const row = await clusterOf(cluster)
  assert.equal([row?.state, row?.caHash, row?.podsNotRunning], ['up', 'ab'.repeat(32), 3])
  assert.ok(row?.observedAt)
})

const kubeconfig = 'apiVersion: v1\nkind: Config\nclusters: []\nusers: []\ncontexts: []\n'

test('404 for a kubeconfig that the cluster does not keep', async () => {
  const { cluster, node } = await site()
  assert.is(await codeOf(node.ask('PUT', '/v1/kubeconfig', kubeconfig)), '404 not_found')
  assert.is((await clusterOf(cluster))?.kubeconfigSealed, null)
})

test('400 request_invalid for a kubeconfig that is none', async () => {
  const { node } = await site({ escrowKubeconfig: true })
  for (const bad of [
    '',
    'kind: Secret',
    '\t',
    '- a',
    'kind: Config\nclusters: x\nusers: []',
    '[[[',
    '\ufffd'.repeat(9),
  ])
    assert.is(await codeOf(node.ask('PUT', '/v1/kubeconfig', bad)), '400 request_invalid', bad)
})

test('204 and the kubeconfig is kept, sealed', async () => {
  const { cluster, node } = await site({ escrowKubeconfig: true })
  assert.is((await node.ask('PUT', '/v1/kubeconfig', kubeconfig)).status, 204)
  const row = await clusterOf(cluster)
  assert.is(
    desk.world.vault.open(place.kubeconfig(cluster), row?.kubeconfigSealed as Uint8Array).toString(),
    kubeconfig,
  )
})

test('204 and a kubeconfig is asked for where the cluster keeps one, until there is one, and again after a month', async () => {
  const wanted = async (node: ClusterNode) => (await node.putNodes(report())).headers.get('rollcall-want')
  assert.is(await wanted((await site()).node), null)
  const { node } = await site({ escrowKubeconfig: true })
  assert.is(await wanted(node), 'kubeconfig')
  await node.ask('PUT', '/v1/kubeconfig', kubeconfig)
  assert.is(await wanted(node), null)
  desk.world.clock.now += 31 * 86_400
  assert.is(await wanted(node), 'kubeconfig')
})
