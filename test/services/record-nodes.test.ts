import { and, eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { type NodeObservation, recordNodes } from '../../src/services/record-nodes.ts'
import { nodes, tasks } from '../../src/store/cluster-schema.ts'
import { clusters } from '../../src/store/declared-schema.ts'
import { insertReports } from '../../src/store/report.ts'
import { devices, enrollments, events } from '../../src/store/schema.ts'
import { FakeDevice } from '../fakes/device.ts'
import { addEnrollment, type Live } from '../fakes/enrollment.ts'
import { addCluster, addDevice, addProfile, makeWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('record nodes')

let world: World
let profile: string
let count = 0

test.before(async () => {
  world = await makeWorld()
  profile = await addProfile(world)
})
test.after(() => world.end())

const newCluster = () => addCluster(world, { name: `nodes-${++count}` })

async function newBox(cluster: string, live: Live = {}) {
  const device = new FakeDevice(`BOX-${++count}`)
  const id = await addDevice(world, device, { profile, cluster })
  const enrollment = await addEnrollment(world, device.serial, live)
  return { id, enrollment, name: device.serial.toLowerCase() }
}

const see = (clusterId: string, names: Record<string, boolean | null>, more: Partial<NodeObservation> = {}) =>
  recordNodes(world, {
    clusterId,
    source: 'datastore',
    complete: true,
    nodes: Object.entries(names).map(([name, ready]) => ({ name, ready, version: 'v1.36.3+k3s1' })),
    ...more,
  })
const stateOf = async (id: string) => (await world.db.select().from(devices).where(eq(devices.id, id)))[0]?.state
const enrollmentOf = async (id: string) => (await world.db.select().from(enrollments).where(eq(enrollments.id, id)))[0]
const toldOf = async (id: string) =>
  (await world.db.select().from(events).where(eq(events.deviceId, id)).orderBy(events.id)).map(({ name }) => name)
const nodesOf = (id: string) => world.db.select().from(nodes).where(eq(nodes.clusterId, id)).orderBy(nodes.name)

test('changes no device of another cluster that has the name', async () => {
  const [here, there] = [await newCluster(), await newCluster()]
  const box = await newBox(there)
  await see(here, { [box.name]: true })
  assert.is(await stateOf(box.id), 'enrolled')
  assert.is((await nodesOf(here))[0]?.deviceId, null)
})

test('ignores a cluster that is not there', async () => {
  await see('clu_none', { a: true })
})

test('moves a device that its cluster shows, wipes its document, and has its join token deleted', async () => {
  const cluster = await newCluster()
  const box = await newBox(cluster)
  await world.db
    .update(enrollments)
    .set({ joinTokenId: 'abcdef', joinPublishedAt: new Date() })
    .where(eq(enrollments.id, box.enrollment))
  const woken: string[] = []
  await recordNodes(
    { ...world, wake: (id) => woken.push(id) },
    { clusterId: cluster, source: 'server', complete: true, nodes: [{ name: box.name, ready: false, version: null }] },
  )
  assert.is(await stateOf(box.id), 'joined')
  await see(cluster, { [box.name]: true })
  assert.is(await stateOf(box.id), 'ready')
  const live = await enrollmentOf(box.enrollment)
  assert.is(live?.observed, true)
  assert.is(live?.documentSealed, null)
  assert.is(live?.joinSealed, null)
  assert.match(live?.documentRedacted ?? '', '#cloud-config')
  assert.equal(await toldOf(box.id), ['node.joined', 'node.ready'])
  const queued = await world.db.select().from(tasks).where(eq(tasks.clusterId, cluster))
  assert.equal(
    queued.map(({ verb, subject, enrollmentId }) => [verb, subject, enrollmentId]),
    [['token-delete', 'abcdef', box.enrollment]],
  )
  assert.equal(woken, [cluster])
  const [row] = await nodesOf(cluster)
  assert.equal([row?.deviceId, row?.source, row?.ready], [box.id, 'datastore', true])
})

test('corrects a device that had called itself ready', async () => {
  const cluster = await newCluster()
  const box = await newBox(cluster, { state: 'ready', joined: true })
  await see(cluster, { [box.name]: false })
  assert.is(await stateOf(box.id), 'joined')
  const live = await enrollmentOf(box.enrollment)
  assert.is(live?.readyAt, null)
  await see(cluster, { [box.name]: true })
  await see(cluster, { [box.name]: false })
  assert.is(await stateOf(box.id), 'ready')
})

test('stays with what the cluster showed, whatever the device reports since', async () => {
  const cluster = await newCluster()
  const box = await newBox(cluster)
  await see(cluster, { [box.name]: false })
  const [row] = await world.sql<{ hash: string }[]>`
    select encode(report_hash, 'hex') as hash from enrollments where id = ${box.enrollment}`
  const { at, ...step } = { at: world.now(), source: 'node' as const, name: 'k3s.ready', result: 'ok', detail: {} }
  const report = { ...step, at, report_hash: row?.hash as string, step: true, applied: true, ready: true }
  await insertReports(world.sql, [report], 10)
  assert.is(await stateOf(box.id), 'joined')
  assert.is((await enrollmentOf(box.enrollment))?.readyAt, null)
})

test('tells a join once, though two replicas see it at once', async () => {
  const cluster = await newCluster()
  const box = await newBox(cluster)
  await Promise.all(Array.from({ length: 4 }, () => see(cluster, { [box.name]: true })))
  assert.equal(await toldOf(box.id), ['node.joined', 'node.ready'])
})

test('writes nothing but now and then while nothing changes', async () => {
  const [one, two] = [await newCluster(), await newCluster()]
  const box = await newBox(one)
  const both = () =>
    recordNodes(
      world,
      ...[one, two].map((clusterId) => ({
        clusterId,
        source: 'datastore' as const,
        complete: true,
        nodes: [{ name: box.name, ready: true, version: null }],
      })),
    )
  await both()
  const written = async () => (await world.sql<{ x: string }[]>`select xmin::text as x from nodes`).map(({ x }) => x)
  const seen = async () =>
    (await world.db.select().from(clusters).where(eq(clusters.id, two)))[0]?.observedAt?.getTime()
  const [before, at] = [await written(), await seen()]
  world.clock.now += 30
  await both()
  assert.equal(await written(), before)
  assert.is(await seen(), at)
  world.clock.now += 100
  await both()
  assert.not.equal(await written(), before)
  assert.is(await seen(), world.clock.now * 1000)
})

test('shows a Node that is gone, and one that came back', async () => {
  const cluster = await newCluster()
  const box = await newBox(cluster)
  await see(cluster, { [box.name]: true })
  world.clock.now += 100
  await see(cluster, {})
  const where = and(eq(nodes.clusterId, cluster), eq(nodes.name, box.name))
  assert.ok((await world.db.select().from(nodes).where(where))[0]?.goneAt)
  world.clock.now += 100
  await see(cluster, { [box.name]: false })
  assert.equal(await toldOf(box.id), ['node.joined', 'node.ready', 'node.gone', 'node.back'])
  assert.is(await stateOf(box.id), 'ready')
})
