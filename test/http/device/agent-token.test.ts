import { eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { tasks } from '../../../src/store/cluster-schema.ts'
import type { clusters } from '../../../src/store/declared-schema.ts'
import { devices, enrollments, events } from '../../../src/store/schema.ts'
import { ClusterNode } from '../../fakes/cluster-node.ts'
import { type Desk, openDesk, problemOf } from '../../fakes/desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('the join token of an agent')

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

async function site(change: Partial<typeof clusters.$inferInsert> = {}) {
  const cluster = await addCluster(desk.world, { name: `agents-${++count}`, ...change })
  const node = await ClusterNode.add(desk.world, desk.app, { profile: servers, cluster })
  const device = new FakeDevice(`AG-${count}`)
  const id = await addDevice(desk.world, device, { profile: agents, cluster })
  return { cluster, node, device, id }
}

const tokenIn = (document: string) =>
  /K10([0-9a-f]{64})::([a-z0-9]{6})\.([a-z0-9]{16})/.exec(document)?.slice(1) as [string, string, string]
const told = async (id: string) =>
  (await desk.world.db.select().from(events).where(eq(events.deviceId, id)).orderBy(events.id)).map(({ name }) => name)
const tasksOf = (cluster: string) => desk.world.db.select().from(tasks).where(eq(tasks.clusterId, cluster))

test('503 cluster_not_ready while the CA hash of its cluster is not known', async () => {
  const { device, cluster } = await site({ caHash: null, state: 'initializing' })
  const answer = await desk.enrol(device)
  assert.is((await problemOf(answer)).code, 'cluster_not_ready')
  assert.ok(Number(answer.headers.get('retry-after')) > 0)
  assert.equal(await tasksOf(cluster), [])
})

test('is in the document, and is handed to a held poll of its cluster as soon as it is made', async () => {
  const { device, id, node } = await site()
  const poll = node.poll(20)
  while (desk.polls.held() === 0) await new Promise((done) => setTimeout(done, 5))
  const document = await (await desk.enrol(device)).text()
  const [caHash, tokenId, secret] = tokenIn(document)
  assert.is(caHash, 'ab'.repeat(32))
  const line = await (await poll).text()
  assert.is(line.replace(/^\S+ /, ''), `token-create ${tokenId} ${secret} ${desk.world.now() + 600}\n`)
  await node.tell(`${line.split(' ')[0]} ok`)
  assert.equal(await told(id), ['enrolled', 'join.published'])
})

test('is deleted once the cluster shows the Node, whatever the device says', async () => {
  const { device, id, node } = await site()
  const [, tokenId] = tokenIn(await (await desk.enrol(device)).text())
  const [task] = (await (await node.poll()).text()).split(' ')
  await node.tell(`${task} ok`)
  await node.putNodes({
    ca_hash: 'ab'.repeat(32),
    nodes: [{ name: device.serial.toLowerCase(), ready: true, version: 'v1.36.3+k3s1' }],
    pods_not_running: 0,
  })
  const line = await (await node.poll()).text()
  assert.match(line, new RegExp(`^tsk_\\w+ token-delete ${tokenId}\n$`))
  await node.tell(`${line.split(' ')[0]} ok`)
  assert.equal(await told(id), ['enrolled', 'join.published', 'node.joined', 'node.ready', 'join.deleted'])
  const [row] = await desk.world.db.select().from(devices).where(eq(devices.id, id))
  assert.is(row?.state, 'ready')
})

test('is not made twice for a retry of the claim, and ends with its enrollment', async () => {
  const { device, id, cluster } = await site()
  const claim = device.claim(await desk.nonce())
  const [first, retry] = [await (await desk.claim(claim)).text(), await (await desk.claim(claim)).text()]
  assert.equal(tokenIn(retry), tokenIn(first))
  assert.is((await tasksOf(cluster)).length, 1)
  desk.world.clock.now += 10
  const second = tokenIn(await (await desk.enrol(device)).text())
  assert.not.equal(second, tokenIn(first))
  const rows = await desk.world.db
    .select()
    .from(enrollments)
    .where(eq(enrollments.deviceId, id))
    .orderBy(enrollments.id)
  assert.equal(
    rows.map(({ joinTokenId, joinSealed, joinExpiresAt }) => [
      joinTokenId,
      joinSealed !== null,
      joinExpiresAt.getTime() / 1000 - desk.world.now(),
    ]),
    [
      [tokenIn(first)[1], false, 0],
      [second[1], true, 600],
    ],
  )
})
