import { and, eq, isNull } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { unconditional } from '../../../src/services/actor.ts'
import { commandDevice } from '../../../src/services/command-device.ts'
import { readByKey } from '../../../src/services/read-devices.ts'
import { recordNodes } from '../../../src/services/record-nodes.ts'
import { tasks } from '../../../src/store/cluster-schema.ts'
import { enrollments, events } from '../../../src/store/schema.ts'
import { audit } from '../../../src/store/server-schema.ts'
import { type Desk, openDesk, problemOf } from '../../fakes/desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('a node that lies about its name')

let desk: Desk
let profile: string
let count = 0

test.before(async () => {
  desk = await openDesk()
  profile = await addProfile(desk.world, { role: 'agent', name: 'agents' })
})
test.after(() => desk.world.end())

/** Two agents of one cluster: the liar's token is in it, and its own Node is not; the box says that it still installs, or nothing. */
async function site(said: 'clock' | 'nothing' = 'clock') {
  count++
  const cluster = await addCluster(desk.world, { name: `lie-${count}` })
  const [liar, box] = [await agent(`LIAR-${count}`, cluster), await agent(`BOX-${count}`, cluster)]
  await published(liar.id)
  if (said === 'clock') await desk.report(box.report, { step: 'clock', result: 'ok' })
  return { cluster, liar, box }
}

async function agent(serial: string, cluster: string) {
  const device = new FakeDevice(serial)
  const id = await addDevice(desk.world, device, { profile, cluster })
  const document = await (await desk.enrol(device)).text()
  return {
    device,
    id,
    name: serial.toLowerCase(),
    report: /\/v1\/report\/([A-Za-z0-9_-]+)/.exec(document)?.[1] as string,
  }
}

const published = (id: string) =>
  desk.world.db.update(enrollments).set({ joinPublishedAt: new Date() }).where(eq(enrollments.deviceId, id))
const see = (clusterId: string, ...names: string[]) =>
  recordNodes(desk.world, {
    clusterId,
    source: 'datastore',
    complete: true,
    nodes: names.map((name) => ({ name, ready: true, version: 'v1.36.3+k3s1', seenAt: desk.world.now() })),
  })
const shown = async ({ device }: { device: FakeDevice }) =>
  (await readByKey(desk.world.db, device.serial.toLowerCase(), desk.world.now())).body
const liveOf = async (id: string) =>
  (
    await desk.world.db
      .select()
      .from(enrollments)
      .where(and(eq(enrollments.deviceId, id), isNull(enrollments.endedAt)))
  )[0]
const toldOf = async (id: string) =>
  (await desk.world.db.select().from(events).where(eq(events.deviceId, id)).orderBy(events.id)).filter(({ name }) =>
    /^(node|alarm)\./.test(name),
  )
const deletions = async (cluster: string) =>
  (await desk.world.db.select().from(tasks).where(eq(tasks.clusterId, cluster))).filter(
    ({ verb }) => verb === 'token-delete',
  )
const later = (seconds: number) => {
  desk.world.clock.now += seconds
}

test('costs the device whose name it took neither its document nor its token, and is an alarm when it stays', async () => {
  const { cluster, box, liar } = await site()
  await see(cluster, box.name)
  assert.equal([(await shown(box)).state, (await shown(box)).failure], ['ready', null])
  const live = await liveOf(box.id)
  assert.ok(live?.documentSealed && live.joinSealed)
  assert.equal([live?.observed, live?.joinedAt, live?.appliedAt], [true, null, null])
  assert.equal(await deletions(cluster), [])
  later(1_799)
  await see(cluster, box.name, 'stranger')
  assert.is((await shown(box)).failure, null, 'its reports may be late')
  later(1)
  for (let look = 0; look < 3; look++) {
    await see(cluster, box.name, 'stranger')
    later(30)
  }
  const { failure, stuck_reason: stuck, node } = await shown(box)
  assert.match(failure ?? '', `another machine may have its name: the cluster shows a Node ${box.name}`)
  assert.is(stuck, failure)
  assert.is(node, null)
  const told = await toldOf(box.id)
  assert.equal(
    told.map(({ name }) => name),
    ['node.doubted', 'alarm.node_name'],
  )
  const beside = told[1]?.detail as { without_node: string[]; strangers: string[] } | undefined
  assert.equal([beside?.without_node, beside?.strangers], [[liar.name], ['stranger']])
  const noted = await desk.world.db.select().from(audit).where(eq(audit.action, 'device.alarm.node_name'))
  assert.equal(
    noted.map(({ target }) => target),
    [`device:${box.device.serial}`],
  )
})

test('keeps the device out of its cluster no longer than its Node is there', async () => {
  const { cluster, box } = await site()
  await see(cluster, box.name)
  await published(box.id)
  later(400)
  await desk.report(box.report, { step: 'k3s.join', result: 'fail', detail: 'k3s-agent does not start' })
  assert.match((await shown(box)).failure ?? '', 'says that k3s.join failed')
  await see(cluster, box.name)
  assert.is((await liveOf(box.id))?.joinedAt, null, 'still the other’s')
  await see(cluster)
  later(20)
  await see(cluster, box.name)
  const { state, failure, node } = await shown(box)
  assert.equal([state, failure, node?.ready], ['ready', null, true])
  assert.equal([(await liveOf(box.id))?.joinSealed, (await deletions(cluster)).length], [null, 1])
})

test('lets the device claim again meanwhile, and doubts that Node as before', async () => {
  const { cluster, box } = await site()
  await see(cluster, box.name)
  const again = await desk.enrol(box.device)
  assert.is(again.status, 200)
  const report = /\/v1\/report\/([A-Za-z0-9_-]+)/.exec(await again.text())?.[1] as string
  await published(box.id)
  await desk.report(report, { step: 'k3s.join', result: 'start' })
  later(200)
  await see(cluster, box.name)
  assert.is((await liveOf(box.id))?.joinedAt, null)
  await desk.report(report, { step: 'k3s.join', result: 'ok' })
  later(200)
  await see(cluster, box.name)
  assert.ok((await liveOf(box.id))?.joinedAt)
})

test('is found out by what the device says, where its Node was taken for the device’s', async () => {
  const { cluster, box } = await site('nothing')
  await published(box.id)
  await see(cluster, box.name)
  assert.ok((await liveOf(box.id))?.joinedAt, 'nothing spoke against it')
  const join = (result: string) => desk.report(box.report, { step: 'k3s.join', result })
  await join('fail')
  assert.is((await shown(box)).failure, null, 'it became Ready just now')
  later(300)
  await join('start')
  await join('fail')
  await join('fail')
  assert.match((await shown(box)).stuck_reason ?? '', 'another machine may have its name')
  assert.equal(
    (await toldOf(box.id)).map(({ name }) => name),
    ['node.joined', 'node.ready', 'alarm.node_name'],
  )
  // An admin's word, and it is back.
  assert.is((await problemOf(await desk.enrol(box.device))).code, 'reenroll_denied')
  await commandDevice(
    desk.world,
    { name: 'test' },
    { serial: box.device.serial, verb: 'reenroll', precondition: unconditional },
  )
  assert.is((await desk.enrol(box.device)).status, 200)
  assert.is((await shown(box)).failure, null)
})

test('is not suspected of a device that fails while its Node does', async () => {
  const { cluster, box } = await site('nothing')
  await published(box.id)
  await recordNodes(desk.world, {
    clusterId: cluster,
    source: 'datastore',
    complete: true,
    nodes: [{ name: box.name, ready: false, version: null }],
  })
  later(900)
  await desk.report(box.report, { step: 'k3s.ready', result: 'fail', detail: 'not ready after 10 minutes' })
  assert.is((await shown(box)).failure, null)
  later(1)
  await desk.report(box.report, { step: 'k3s.ready', result: 'ok' })
  assert.is((await shown(box)).state, 'joined')
})

test('takes no alarm with it when the device says that it joined after all', async () => {
  const { cluster, box } = await site('nothing')
  await published(box.id)
  await see(cluster, box.name)
  later(300)
  await desk.report(box.report, { step: 'k3s.join', result: 'fail' })
  assert.ok((await shown(box)).failure)
  await desk.report(box.report, { step: 'k3s.join', result: 'ok' })
  assert.equal([(await shown(box)).failure, (await shown(box)).state], [null, 'ready'])
})
