import { and, eq, isNull } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { startPublisher } from '../../../src/services/publish-tokens.ts'
import { datastoreLogins, tasks } from '../../../src/store/cluster-schema.ts'
import { clusters } from '../../../src/store/declared-schema.ts'
import { enrollments } from '../../../src/store/schema.ts'
import { ClusterNode } from '../../fakes/cluster-node.ts'
import { type Desk, openDesk } from '../../fakes/desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { GateBox } from '../../fakes/gate-box.ts'
import { addCluster, addDevice, addProfile, makeManagedWorld } from '../../fakes/world.ts'
import { testDatabase } from '../../postgres.ts'
import { suite } from '../../suite.ts'

const test = suite('two servers of one roll', { timeout: 120_000 })
const token = 'f0'.repeat(32)
/** Each with its own connections, its own gate and its own way to the clusters' datastore. */
let desks: [Desk, Desk]
let end: () => Promise<void>
let servers: string
let agents: string
let count = 0

test.before(async () => {
  const database = await testDatabase()
  const shared = { url: database.url, close: async () => {} }
  const worlds = [await makeManagedWorld({ database: shared }), await makeManagedWorld({ database: shared })] as const
  desks = [await openDesk(worlds[0]), await openDesk(worlds[1])]
  servers = await addProfile(worlds[0])
  agents = await addProfile(worlds[0], { name: 'agents', role: 'agent', join_ttl: 600 })
  end = async () => {
    for (const world of worlds) await world.end()
    await database.close()
  }
})
test.after(() => end?.())

const askAll = (boxes: readonly GateBox[]) =>
  Promise.all(boxes.map((box, n) => box.through(desks[n % 2] as Desk).ask()))

async function virgin(size: number) {
  const { world } = desks[0]
  const datastore = { kind: 'managed' } as const
  const id = await addCluster(world, { name: `replicas-${++count}`, caHash: null, state: 'virgin', datastore })
  await world.managed?.declare(id)
  const boxes: GateBox[] = []
  for (let n = 0; n < size; n++) boxes.push(await GateBox.add(desks[0], { profile: servers, cluster: id }))
  return { id, boxes }
}

test('let one of fifty go first, whichever they ask, and then all the others in', async () => {
  for (let run = 0; run < 3; run++) {
    const { id, boxes } = await virgin(50)
    const { db } = desks[0].world
    const answers = await askAll(boxes)
    const waiting = answers.filter((answer) => answer === '503 cluster_not_ready').length
    assert.equal([answers.filter((answer) => answer === '200').length, waiting], [1, 49], `run ${run}`)
    const first = boxes[answers.indexOf('200')] as GateBox
    const logins = await db.select().from(datastoreLogins).where(eq(datastoreLogins.clusterId, id))
    assert.equal(
      logins.filter(({ fencedAt }) => fencedAt === null).map(({ enrollmentId }) => enrollmentId),
      [first.enrollment],
    )
    const sql = await first.session()
    await first.finish(sql, token)
    await sql.end()
    assert.equal(
      await askAll(boxes),
      boxes.map(() => '200'),
    )
    const [row] = await db.select().from(clusters).where(eq(clusters.id, id))
    assert.is(row?.state, 'up')
  }
})

test('give the turn of one that is lost to one other, though both see that it ran out', async () => {
  for (let run = 0; run < 3; run++) {
    const { id, boxes } = await virgin(8)
    const [lost, ...others] = boxes as [GateBox, ...GateBox[]]
    assert.is(await lost.ask(), '200')
    for (const { world } of desks) (world as typeof world & { clock: { now: number } }).clock.now += 901
    const answers = await askAll(others)
    assert.is(answers.filter((answer) => answer === '200').length, 1, answers.join())
    assert.not(await lost.canWrite())
    const logins = await desks[0].world.db
      .select()
      .from(datastoreLogins)
      .where(and(eq(datastoreLogins.clusterId, id), isNull(datastoreLogins.fencedAt)))
    assert.equal(
      logins.map(({ enrollmentId }) => enrollmentId),
      [others[answers.indexOf('200')]?.enrollment],
    )
  }
})

test('publish a token once: one task is made, and handed out to one of the servers that ask both', async () => {
  const { world } = desks[0]
  const cluster = await addCluster(world, { name: `replicas-${++count}` })
  const nodes: ClusterNode[] = []
  for (let n = 0; n < 4; n++)
    nodes.push(await ClusterNode.add(world, (desks[n % 2] as Desk).app, { profile: servers, cluster }))
  const ids: string[] = []
  for (let n = 0; n < 20; n++) {
    const device = new FakeDevice(`REPLICA-AGENT-${n}`)
    ids.push(await addDevice(world, device, { profile: agents, cluster }))
    assert.is((await (desks[n % 2] as Desk).enrol(device)).status, 200)
  }
  const publishers = desks.map((desk) => startPublisher(desk.world, () => {}))
  const polled = await Promise.all(nodes.map(async (node) => (await node.poll()).text()))
  const lines = polled.flatMap((text) => text.split('\n').filter(Boolean))
  const live = await world.db.select().from(enrollments).where(eq(enrollments.clusterId, cluster))
  const tokens = live.flatMap(({ joinTokenId }) => (joinTokenId === null ? [] : [joinTokenId]))
  assert.equal(
    lines.map((line) => line.split(' ').slice(1, 3).join(' ')).sort(),
    tokens.map((id) => `token-create ${id}`).sort(),
  )
  // Answered twice, and by another server than the one that it was given by.
  const done = lines.map((line) => `${line.split(' ')[0]} ok`).join('\n')
  const told = await Promise.all(nodes.map((node) => node.tell(done)))
  assert.equal(
    told.map(({ status }) => status),
    nodes.map(() => 204),
  )
  await Promise.all(publishers.map((publisher) => publisher.stop()))
  const rows = await world.db.select().from(tasks).where(eq(tasks.clusterId, cluster))
  assert.is(rows.length, ids.length)
  assert.ok(rows.every(({ doneAt }) => doneAt !== null))
  const published = await world.sql<{ count: number }[]>`
    select count(*)::int as count from events where device_id in ${world.sql(ids)} and name = 'join.published'`
  assert.is(published[0]?.count, ids.length)
})
