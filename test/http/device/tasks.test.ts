import { setTimeout as sleep } from 'node:timers/promises'
import { eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { queueTask, type Task, wakeCluster } from '../../../src/services/queue-task.ts'
import { tasks } from '../../../src/store/cluster-schema.ts'
import { enrollments, events } from '../../../src/store/schema.ts'
import { ClusterNode } from '../../fakes/cluster-node.ts'
import { type Desk, openDesk, problemOf } from '../../fakes/desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addEnrollment } from '../../fakes/enrollment.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('/v1/tasks')

let desk: Desk
let profile: string
let count = 0

test.before(async () => {
  desk = await openDesk()
  profile = await addProfile(desk.world)
})
test.after(() => desk.world.end())

async function site(servers = 1) {
  const cluster = await addCluster(desk.world, { name: `tasks-${++count}` })
  const nodes = await Promise.all(
    Array.from({ length: servers }, () => ClusterNode.add(desk.world, desk.app, { profile, cluster })),
  )
  return { cluster, nodes, node: nodes[0] as ClusterNode, other: nodes[1] as ClusterNode }
}

async function agent(cluster: string) {
  const device = new FakeDevice(`AGENT-${++count}`)
  const deviceId = await addDevice(desk.world, device, { profile, cluster })
  return { deviceId, enrollmentId: await addEnrollment(desk.world, device.serial) }
}

async function queue(clusterId: string, ...given: (Omit<Task, 'clusterId'> | string)[]) {
  const all = given.map((task) => ({
    clusterId,
    ...(typeof task === 'string' ? { verb: 'node-delete' as const, subject: task } : task),
  }))
  await desk.world.db.transaction((tx) => queueTask(desk.world, tx, ...all))
  wakeCluster(desk.world, clusterId)
}

const rowsOf = (cluster: string) =>
  desk.world.db.select().from(tasks).where(eq(tasks.clusterId, cluster)).orderBy(tasks.id)
const idsIn = (text: string) => [...text.matchAll(/^tsk_\w+/gm)].map(([id]) => id)
const textOf = async (answer: Promise<Response>) => (await answer).text()
const codeOf = async (answer: Promise<Response>) => {
  const { status, code } = await problemOf(await answer)
  return `${status} ${code}`
}
const told = async (deviceId: string) =>
  (await desk.world.db.select().from(events).where(eq(events.deviceId, deviceId)).orderBy(events.id)).map(
    ({ name, result }) => `${name} ${result}`,
  )
const held = async (n: number) => {
  for (let i = 0; i < 200 && desk.polls.held() !== n; i++) await sleep(5)
  assert.is(desk.polls.held(), n)
}

test('HEAD 204: gives out nothing', async () => {
  const { cluster, node } = await site()
  await queue(cluster, 'edge-1')
  const headers = { authorization: `Bearer ${node.credential}` }
  const answer = await desk.app.request('/v1/tasks?wait=0', { method: 'HEAD', headers })
  assert.is(answer.status, 204)
  const text = await (await desk.app.request('/v1/tasks?wait=0', { headers })).text()
  assert.match(text, / node-delete edge-1\n$/)
})

test('401 credential_invalid for a credential that is missing, of another form, unknown, or an ended one', async () => {
  const { node } = await site()
  assert.is(await codeOf(Promise.resolve(desk.app.request('/v1/tasks'))), '401 credential_invalid')
  for (const bad of ['x', 'x'.repeat(43), `${node.credential}x`])
    for (const wait of ['0', 'soon']) {
      const asked = desk.app.request(`/v1/tasks?wait=${wait}`, { headers: { authorization: `Bearer ${bad}` } })
      assert.is(await codeOf(Promise.resolve(asked)), '401 credential_invalid')
    }
  await desk.world.db.update(enrollments).set({ endedAt: new Date() }).where(eq(enrollments.id, node.enrollmentId))
  assert.is(await codeOf(node.poll()), '401 credential_invalid')
  assert.is(await codeOf(node.tell('tsk_ ok')), '401 credential_invalid')
})

test('401 credential_invalid for a server that a compromised cluster had not let in, and its tasks stay where they are', async () => {
  const { cluster, node } = await site()
  await desk.world.sql`update clusters set state = 'compromised' where id = ${cluster}`
  const early = await ClusterNode.add(desk.world, desk.app, { profile, cluster }, { redeemed: false })
  await queue(cluster, 'box-1')
  assert.is(await codeOf(early.poll()), '401 credential_invalid')
  assert.is(idsIn(await textOf(node.poll())).length, 1)
})

test('400 request_invalid for a wait that is no number', async () => {
  const { node } = await site()
  for (const wait of ['x', '-1', '1.5', '']) assert.is(await codeOf(node.poll(wait)), '400 request_invalid')
})

test('400 request_invalid for lines that are no results, and none of them counts', async () => {
  const { cluster, node } = await site()
  await queue(cluster, 'n1')
  const [id] = idsIn(await textOf(node.poll()))
  for (const bad of ['', '\n', 'ok', `${id}`, `${id} maybe`, `${id} ok\n${id}`, 'tsk_x ok', `${id} ok ok`])
    assert.is(await codeOf(node.tell(bad)), '400 request_invalid', bad)
  assert.is((await rowsOf(cluster))[0]?.doneAt, null)
})

test('413 body_too_large', async () => {
  const { node } = await site()
  assert.is(await codeOf(node.tell('x'.repeat(262_145))), '413 body_too_large')
})

test('429 rate_limited for more polls than one credential may hold', async () => {
  const { node } = await site()
  const client = new AbortController()
  const polls = Array.from({ length: 16 }, () => node.poll(20, client.signal))
  await held(16)
  assert.is(await codeOf(node.poll(20)), '429 rate_limited')
  client.abort()
  await Promise.all(polls)
  await held(0)
  assert.is((await node.poll()).status, 204)
})

test('204 when there is nothing to do, and never another cluster’s tasks', async () => {
  const [mine, theirs] = [await site(), await site()]
  await queue(theirs.cluster, 'n1')
  const answer = await mine.node.poll()
  assert.is(answer.status, 204)
  assert.is(await answer.text(), '')
  const before = Date.now()
  assert.is((await mine.node.poll(1)).status, 204)
  assert.ok(Date.now() - before > 900)
})

test('200 one task a line, as the wire contract says', async () => {
  const { cluster, node } = await site()
  const until = desk.world.now() + 3_600
  await queue(cluster, { verb: 'token-create', subject: 'abcdef', secret: '0123456789abcdef', expiresAt: until })
  await queue(cluster, { verb: 'token-delete', subject: 'uvwxyz' }, { verb: 'node-ban', subject: 'n2' }, 'n1')
  const answer = await node.poll()
  assert.is(answer.status, 200)
  assert.match(answer.headers.get('content-type') ?? '', /^text\/plain/)
  const lines = (await answer.text()).split('\n')
  assert.is(lines.pop(), '')
  // Of one verb together: what is applied at once is applied fastest.
  assert.equal(
    lines.map((line) => line.replace(/^tsk_[0-9a-z]{26} /, '')),
    ['node-ban n2', 'node-delete n1', `token-create abcdef 0123456789abcdef ${until}`, 'token-delete uvwxyz'],
  )
})

test('holds the deletion of a Node back until its ban is done', async () => {
  const { cluster, node } = await site()
  await queue(cluster, { verb: 'node-ban', subject: 'n1' }, { verb: 'node-delete', subject: 'n1' })
  const first = await textOf(node.poll())
  assert.match(first, /^tsk_\S+ node-ban n1\n$/)
  await node.tell(`${idsIn(first)[0]} ok`)
  assert.match(await textOf(node.poll()), /^tsk_\S+ node-delete n1\n$/)
})

test('gives nothing out that is too old to be published', async () => {
  const { cluster, node } = await site()
  await queue(cluster, { verb: 'token-create', subject: 'abcdef', secret: 's', expiresAt: desk.world.now() })
  assert.is((await node.poll()).status, 204)
})

test('wakes the oldest held poll of the cluster alone, at once', async () => {
  const { cluster, node, other } = await site(2)
  const first = node.poll(20)
  await held(1)
  const client = new AbortController()
  const second = other.poll(20, client.signal)
  await held(2)
  const before = Date.now()
  await queue(cluster, 'n1')
  assert.match(await textOf(first), 'node-delete n1')
  assert.ok(Date.now() - before < 1_000)
  await held(1)
  client.abort()
  assert.is((await second).status, 204)
  await held(0)
})

test('finds within seconds what nobody woke it for', async () => {
  const { cluster, node } = await site()
  const poll = node.poll(20)
  await held(1)
  await desk.world.db.transaction((tx) =>
    queueTask(desk.world, tx, { clusterId: cluster, verb: 'node-delete', subject: 'n1' }),
  )
  assert.match(await textOf(poll), 'node-delete n1')
})

test('gives a held poll whose credential ended nothing, and its tasks to the next', async () => {
  const { cluster, node, other } = await site(2)
  const ended = node.poll(20)
  await held(1)
  const good = other.poll(20)
  await held(2)
  await desk.world.db.update(enrollments).set({ endedAt: new Date() }).where(eq(enrollments.id, node.enrollmentId))
  await queue(cluster, 'n1')
  assert.match(await textOf(good), 'node-delete n1')
  assert.is((await ended).status, 204)
  assert.is(await codeOf(node.poll()), '401 credential_invalid')
})

test('hands a task out again, to any server, when nobody answered for it', async () => {
  const { cluster, node, other } = await site(2)
  await queue(cluster, 'n1')
  const first = await textOf(node.poll())
  assert.is((await other.poll()).status, 204)
  desk.world.clock.now += 60
  assert.is(await textOf(other.poll()), first)
})

test('hands a failed task out again, soon and then less often, and keeps its reason', async () => {
  const { cluster, node } = await site()
  const { deviceId, enrollmentId } = await agent(cluster)
  await queue(cluster, { verb: 'node-delete', subject: 'n1', enrollmentId })
  const [id] = idsIn(await textOf(node.poll()))
  assert.is((await node.tell(`${id} fail connection \u001b[31mrefused\u202e`)).status, 204)
  assert.is((await node.poll()).status, 204)
  desk.world.clock.now += 10
  assert.equal(idsIn(await textOf(node.poll())), [id])
  assert.is((await rowsOf(cluster))[0]?.reason, 'connection  [31mrefused')
  await node.tell(`${id} fail`)
  desk.world.clock.now += 19
  assert.is((await node.poll()).status, 204)
  desk.world.clock.now += 1
  assert.equal(idsIn(await textOf(node.poll())), [id])
  await node.tell(`${id} ok`)
  assert.equal(await told(deviceId), ['node.not_deleted fail', 'node.deleted ok'])
  assert.is((await rowsOf(cluster))[0]?.reason, null)
})

test('204 for a task that is acknowledged twice, by two servers, or by a stranger to it', async () => {
  const [here, there] = [await site(2), await site()]
  const { deviceId, enrollmentId } = await agent(here.cluster)
  await queue(here.cluster, { verb: 'node-ban', subject: 'n1', enrollmentId })
  const [id] = idsIn(await textOf(here.node.poll()))
  assert.is((await there.node.tell(`${id} ok`)).status, 204)
  assert.is((await rowsOf(here.cluster))[0]?.doneAt, null)
  const both = [here.node, here.other].map((node) => node.tell(`${id} ok\n${id} ok\n`))
  assert.equal(
    (await Promise.all(both)).map(({ status }) => status),
    [204, 204],
  )
  assert.is((await here.node.tell(`${id} fail too late`)).status, 204)
  assert.is((await rowsOf(here.cluster))[0]?.result, 'ok')
  assert.equal(await told(deviceId), ['node.banned ok'])
})

test('notes what became of a join token, and wipes its secret', async () => {
  const { cluster, node } = await site()
  const { deviceId, enrollmentId } = await agent(cluster)
  const until = desk.world.now() + 3_600
  await queue(cluster, { verb: 'token-delete', subject: 'others' })
  await node.tell(`${idsIn(await textOf(node.poll()))[0]} ok`)
  await queue(cluster, { verb: 'token-create', subject: 'abcdef', secret: 's', expiresAt: until, enrollmentId })
  await node.tell(`${idsIn(await textOf(node.poll()))[0]} ok`)
  assert.is((await node.poll()).status, 204)
  assert.ok((await rowsOf(cluster)).every(({ secretSealed }) => secretSealed === null))
  await queue(cluster, { verb: 'token-delete', subject: 'abcdef', enrollmentId })
  await node.tell(`${idsIn(await textOf(node.poll()))[0]} ok`)
  const [row] = await desk.world.db.select().from(enrollments).where(eq(enrollments.id, enrollmentId))
  assert.is(row?.joinPublishedUntil?.getTime(), until * 1000)
  assert.ok(row?.joinPublishedAt && row.joinDeletedAt)
  assert.equal(await told(deviceId), ['join.published ok', 'join.deleted ok'])
})

test('deletes a token once more that a slow server published after its deletion', async () => {
  const { cluster, node, other } = await site(2)
  await queue(cluster, { verb: 'token-create', subject: 'abcdef', secret: 's', expiresAt: desk.world.now() + 99 })
  const [slow] = idsIn(await textOf(node.poll()))
  await queue(cluster, { verb: 'token-delete', subject: 'abcdef' })
  await other.tell(`${idsIn(await textOf(other.poll()))[0]} ok`)
  assert.is((await node.tell(`${slow} ok`)).status, 204)
  assert.match(await textOf(other.poll()), 'token-delete abcdef')
})

test('gives at most a hundred tasks at once, and the rest to the next poll', async () => {
  const { cluster, node, other } = await site(2)
  const polls = [node.poll(20), other.poll(20)]
  await held(2)
  await queue(cluster, ...Array.from({ length: 130 }, (_, i) => `n${i}`))
  const counts = (await Promise.all(polls.map(textOf))).map((text) => idsIn(text).length)
  assert.equal(counts.sort(), [100, 30].sort())
})

test('answers all held polls at once when the server ends, and holds none any more', async () => {
  const { node } = await site()
  const poll = node.poll(20)
  await held(1)
  desk.polls.close()
  assert.is((await poll).status, 204)
  const before = Date.now()
  assert.is((await node.poll(20)).status, 204)
  assert.ok(Date.now() - before < 2_000)
})
