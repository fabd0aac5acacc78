import { eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { startPublisher, tendTokens } from '../../src/services/publish-tokens.ts'
import { tasks } from '../../src/store/cluster-schema.ts'
import { enrollments, events } from '../../src/store/schema.ts'
import { ClusterNode } from '../fakes/cluster-node.ts'
import { type Desk, openDesk } from '../fakes/desk.ts'
import { FakeDevice } from '../fakes/device.ts'
import { addCluster, addDevice, addProfile } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('publish tokens')

let desk: Desk
let servers: string
let agents: string
let count = 0

test.before(async () => {
  desk = await openDesk()
  servers = await addProfile(desk.world)
  agents = await addProfile(desk.world, { name: 'agents', role: 'agent', join_ttl: 600 })
})
test.after(() => desk.world.end())

/** An agent that has its document, whose token its cluster has published. */
async function published() {
  const number = ++count
  const cluster = await addCluster(desk.world, { name: `tokens-${number}` })
  const node = await ClusterNode.add(desk.world, desk.app, { profile: servers, cluster })
  const device = new FakeDevice(`TOKEN-${number}`)
  const id = await addDevice(desk.world, device, { profile: agents, cluster })
  const document = await (await desk.enrol(device)).text()
  const report = /\/v1\/report\/([A-Za-z0-9_-]+)/.exec(document)?.[1] as string
  await acknowledge(node)
  return { cluster, node, device, id, report }
}

/** Does what the cluster is asked to. @returns the lines, without their ids */
async function acknowledge(node: ClusterNode): Promise<string[]> {
  const lines = (await (await node.poll()).text()).split('\n').filter(Boolean)
  if (lines.length > 0) await node.tell(lines.map((line) => `${line.split(' ')[0]} ok`).join('\n'))
  return lines.map((line) => line.replace(/^\S+ /, ''))
}

const tokenOf = async (id: string) =>
  (await desk.world.db.select().from(enrollments).where(eq(enrollments.deviceId, id)).orderBy(enrollments.id)).at(-1)
const told = async (id: string) =>
  (await desk.world.db.select().from(events).where(eq(events.deviceId, id)).orderBy(events.id)).map(({ name }) => name)

test('lets the token of a silent device run out, and says so', async () => {
  const { node, id } = await published()
  desk.world.clock.now += 599
  assert.is(await tendTokens(desk.world), 0)
  desk.world.clock.now += 1
  assert.is(await tendTokens(desk.world), 1)
  assert.is(await tendTokens(desk.world), 0)
  assert.equal(await acknowledge(node), [`token-delete ${(await tokenOf(id))?.joinTokenId}`])
  assert.equal(await told(id), ['enrolled', 'join.published', 'join.expired', 'join.deleted'])
  desk.world.clock.now += 99
  assert.is(await tendTokens(desk.world), 0)
})

test('renews the token of a device that reports', async () => {
  const { node, id, report } = await published()
  await desk.report(report, { step: 'k3s.join', result: 'start' })
  desk.world.clock.now += 449
  assert.is(await tendTokens(desk.world), 0)
  desk.world.clock.now += 1
  assert.is(await tendTokens(desk.world), 1)
  const until = desk.world.now() + 600
  const [line] = await acknowledge(node)
  assert.match(line ?? '', new RegExp(`^token-create ${(await tokenOf(id))?.joinTokenId} [a-z0-9]{16} ${until}$`))
  const row = await tokenOf(id)
  assert.equal([row?.joinExpiresAt, row?.joinPublishedUntil], [new Date(until * 1000), new Date(until * 1000)])
  assert.is(await tendTokens(desk.world), 0)
})

test('deletes the token of an enrollment that a fresh claim replaced', async () => {
  const { node, device, id } = await published()
  const old = (await tokenOf(id))?.joinTokenId
  desk.world.clock.now += 5
  await desk.enrol(device)
  await acknowledge(node)
  assert.is(await tendTokens(desk.world), 1)
  assert.equal(await acknowledge(node), [`token-delete ${old}`])
})

test('goes on with the others where one token cannot be read', async () => {
  const [broken, good] = [await published(), await published()]
  for (const { report } of [broken, good]) await desk.report(report, { step: 'k3s.join', result: 'start' })
  await desk.world.db
    .update(enrollments)
    .set({ joinSealed: new Uint8Array([9]) })
    .where(eq(enrollments.deviceId, broken.id))
  desk.world.clock.now += 450
  await tendTokens(desk.world)
  assert.match((await acknowledge(good.node))[0] ?? '', /^token-create/)
  assert.equal(await acknowledge(broken.node), [])
})

test('is shared by two servers at once: each token is renewed once', async () => {
  const all = await Promise.all([published(), published(), published()])
  for (const { report } of all) await desk.report(report, { step: 'k3s.join', result: 'start' })
  desk.world.clock.now += 450
  await Promise.all([tendTokens(desk.world), tendTokens(desk.world)])
  for (const { cluster } of all) {
    const rows = await desk.world.db.select().from(tasks).where(eq(tasks.clusterId, cluster))
    assert.is(rows.filter(({ doneAt }) => doneAt === null).length, 1)
  }
})

test('counts what waits, from its start on, and ends', async () => {
  let waiting = -1
  const publisher = startPublisher(desk.world, (n) => {
    waiting = n
  })
  await publisher.stop()
  assert.ok(waiting > 0)
})
