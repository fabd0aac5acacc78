import { randomBytes } from 'node:crypto'
import { and, eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import type { Datastore } from '../../../src/k3s/cluster.ts'
import { unconditional } from '../../../src/services/actor.ts'
import { releaseInitializer } from '../../../src/services/release-initializer.ts'
import { tasks } from '../../../src/store/cluster-schema.ts'
import { clusters } from '../../../src/store/declared-schema.ts'
import { enrollments, events } from '../../../src/store/schema.ts'
import { audit } from '../../../src/store/server-schema.ts'
import { ClusterNode } from '../../fakes/cluster-node.ts'
import { type Desk, openDesk } from '../../fakes/desk.ts'
import { GateBox } from '../../fakes/gate-box.ts'
import { addCluster, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('POST /v1/join on a datastore that cannot be fenced', { timeout: 60_000 })

let desk: Desk
let profile: string
let count = 0
const caHash = '77'.repeat(32)
const turnLasts = 901
const postgres: Datastore = { kind: 'postgres', endpoint: 'postgres://k3s:pw@db.test:5432/k3s' }
const etcd: Datastore = { kind: 'embedded-etcd' }

test.before(async () => {
  desk = await openDesk()
  profile = await addProfile(desk.world)
})
test.after(() => desk.world.end())

async function cluster(datastore: Datastore, servers: number, change = {}) {
  const name = `gate-${++count}`
  const id = await addCluster(desk.world, { name, caHash: null, state: 'virgin', datastore, ...change })
  const boxes: GateBox[] = []
  for (let n = 0; n < servers; n++) boxes.push(await GateBox.add(desk, { profile, cluster: id }))
  return { id, name, boxes: boxes as [GateBox, GateBox, ...GateBox[]] }
}
const rowOf = async (id: string) => {
  const [row] = await desk.world.db.select().from(clusters).where(eq(clusters.id, id))
  return row as NonNullable<typeof row>
}
const auditOf = async (name: string) =>
  (
    await desk.world.db
      .select()
      .from(audit)
      .where(eq(audit.target, `cluster:${name}`))
  ).map((row) => row.action)
const startOf = async (box: GateBox) => {
  const answer = await box.redeem()
  return `${answer.status} ${answer.headers.get('rollcall-start')}`
}
const caHashOf = async (box: GateBox) => (await box.redeem()).headers.get('rollcall-ca-hash')

test('a first server that dies makes the cluster stuck with the reason, once, until an admin releases it', async () => {
  for (const datastore of [postgres, etcd]) {
    const { id, name, boxes } = await cluster(datastore, 3)
    const [first, second, third] = boxes
    assert.is(await first.ask(), '200')
    desk.world.clock.now += turnLasts
    const asked = await Promise.all([second, third as GateBox, second].map((box) => box.ask()))
    assert.equal(asked, Array(3).fill('503 cluster_not_ready'))
    const row = await rowOf(id)
    assert.equal([row.state, row.initializerDeviceId], ['stuck', first.id])
    assert.match(row.stuckReason ?? '', first.serial)
    assert.equal(await auditOf(name), ['cluster.stuck'])
    await releaseInitializer(desk.world, { name: 'test' }, { name, precondition: unconditional })
    assert.is(await second.ask(), '200')
    assert.is((await rowOf(id)).initializerDeviceId, second.id)
    assert.is(await first.ask(), '503 cluster_not_ready')
  }
})

test('a first server that was only slow goes on when it is heard of again', async () => {
  const { id, boxes } = await cluster(postgres, 2)
  const [first, second] = boxes
  await first.ask()
  desk.world.clock.now += turnLasts
  await second.ask()
  assert.is((await rowOf(id)).state, 'stuck')
  assert.is(await first.ask(), '200')
  assert.equal([(await rowOf(id)).state, (await rowOf(id)).stuckReason], ['initializing', null])
  desk.world.clock.now += turnLasts
  await second.ask()
  await first.says(caHash)
  assert.equal([(await rowOf(id)).state, (await rowOf(id)).caHash], ['up', caHash])
  assert.is(await second.ask(), '200')
})

test('reports renew nothing; a node credential does', async () => {
  const { id, boxes } = await cluster(postgres, 2)
  await boxes[0].ask()
  const before = await rowOf(id)
  desk.world.clock.now += 600
  await boxes[0].reports('k3s.join', 'ok')
  assert.equal(await rowOf(id), before)
  // A server that does not go first can know no CA hash, and keeps nobody's turn.
  await boxes[1].says('88'.repeat(32))
  assert.equal((await rowOf(id)).initializerUntil, before.initializerUntil)
  assert.is((await rowOf(id)).caHash, null)
})

test('a first server that never got its token passes its turn on by itself', async () => {
  const { id, boxes } = await cluster(postgres, 2)
  const until = new Date((desk.world.now() + 900) * 1000)
  const turn = { state: 'initializing', initializerDeviceId: boxes[0].id, initializerUntil: until }
  await desk.world.db.update(clusters).set(turn).where(eq(clusters.id, id))
  assert.is(await boxes[1].ask(), '503 cluster_not_ready')
  desk.world.clock.now += turnLasts
  assert.is(await boxes[1].ask(), '200')
})

test('waits for the word of a server that joined, rather than begin anew', async () => {
  const { id, boxes } = await cluster(postgres, 2)
  const joined = { redeemedAt: new Date(), joinedAt: new Date(), observed: true }
  await desk.world.db.update(enrollments).set(joined).where(eq(enrollments.id, boxes[0].enrollment))
  assert.is(await boxes[1].ask(), '503 cluster_not_ready')
  await boxes[0].says(caHash)
  assert.is((await rowOf(id)).state, 'up')
  assert.is(await boxes[1].ask(), '200')
})

test('embedded etcd: says who makes the cluster and who joins it', async () => {
  const { boxes } = await cluster(etcd, 2)
  assert.is(await startOf(boxes[0]), '200 init')
  assert.is(await startOf(boxes[0]), '200 init')
  await boxes[0].says(caHash)
  assert.equal([await startOf(boxes[1]), await startOf(boxes[0])], ['200 join', '200 join'])
})

test('a datastore that is not on the servers: says the CA hash to whoever comes after the first; sqlite says nothing', async () => {
  const { boxes } = await cluster(postgres, 2)
  assert.equal([await startOf(boxes[0]), await caHashOf(boxes[0])], ['200 null', null])
  await boxes[0].says(caHash)
  assert.equal([await caHashOf(boxes[1]), await caHashOf(boxes[0])], [caHash, caHash])
  const other = await cluster({ kind: 'sqlite' }, 1)
  await other.boxes[0].redeem()
  await other.boxes[0].says(caHash)
  assert.is(await caHashOf(other.boxes[0]), null)
})

test('embedded etcd: a member that comes back waits until the others removed its former self', async () => {
  const up = { state: 'up', caHash }
  const { id, boxes } = await cluster(etcd, 1, up)
  const [box] = boxes
  const other = await ClusterNode.add(desk.world, desk.app, { profile, cluster: id }, { joined: true, redeemed: true })
  const former = { deviceId: box.id, redeemedAt: new Date(), endedAt: new Date() }
  const live = await desk.world.db.select().from(enrollments).where(eq(enrollments.id, box.enrollment))
  const fresh = { id: `enr_${'0'.repeat(26)}`, joinHash: randomBytes(32), reportHash: randomBytes(32), nodeHash: null }
  await desk.world.db.insert(enrollments).values({ ...(live[0] as (typeof live)[0]), ...former, ...fresh })

  assert.is(await box.ask(), '503 cluster_not_ready')
  assert.is(await box.ask(), '503 cluster_not_ready')
  const given = (await (await other.poll()).text()).trim()
  assert.match(given, new RegExp(`^tsk_[0-9a-z]+ node-delete ${box.serial.toLowerCase()}$`))
  await other.tell(`${given.split(' ')[0]} ok\n`)
  assert.is(await startOf(box), '200 join')
  assert.is((await desk.world.db.select().from(tasks).where(eq(tasks.clusterId, id))).length, 1)
})

test('embedded etcd: nobody is waited for where no other server could remove anything', async () => {
  const { id, boxes } = await cluster(etcd, 1, { state: 'up', caHash })
  assert.is(await startOf(boxes[0]), '200 join')
  assert.equal(await desk.world.db.select().from(tasks).where(eq(tasks.clusterId, id)), [])
})

test('409 already_redeemed: another retry key, with one alarm on the timeline', async () => {
  const { boxes } = await cluster(postgres, 1)
  const [box] = boxes
  await desk.world.db.update(enrollments).set({ assurance: 'bearer' }).where(eq(enrollments.id, box.enrollment))
  const [mine, other] = ['a1'.repeat(16), 'b2'.repeat(16)]
  assert.is(await box.ask('zz'), '400 request_invalid')
  assert.is(await box.ask(mine), '200')
  for (const key of [other, other]) assert.is(await box.ask(key), '409 already_redeemed')
  assert.is(await box.ask(mine.toUpperCase()), '200')
  const where = and(eq(events.deviceId, box.id), eq(events.name, 'alarm.second_redeem'))
  assert.is((await desk.world.db.select().from(events).where(where)).length, 1)
})

test('fifty servers at once: one goes first', async () => {
  for (const datastore of [postgres, etcd]) {
    const { boxes } = await cluster(datastore, 50)
    const answers = await Promise.all(boxes.map((box) => box.ask()))
    assert.is(answers.filter((answer) => answer === '200').length, 1)
    assert.is(answers.filter((answer) => answer === '503 cluster_not_ready').length, 49)
  }
})
