import { eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { queueTask } from '../../../src/services/queue-task.ts'
import { recordNodes } from '../../../src/services/record-nodes.ts'
import { tasks } from '../../../src/store/cluster-schema.ts'
import { clusters } from '../../../src/store/declared-schema.ts'
import { type AdminDesk, openAdminDesk } from '../../fakes/admin-desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addEnrollment } from '../../fakes/enrollment.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('the nodes of a cluster')
let desk: AdminDesk
let profile: string
test.before(async () => {
  desk = await openAdminDesk()
  profile = await addProfile(desk.world, { name: 'agents', role: 'agent' })
})
test.after(() => desk.world.end())

async function box(cluster: string, serial: string) {
  await addDevice(desk.world, new FakeDevice(serial), { profile, cluster })
  await addEnrollment(desk.world, serial)
}

const see = (clusterId: string, names: Record<string, boolean | null>) =>
  recordNodes(desk.world, {
    clusterId,
    source: 'server',
    complete: true,
    nodes: Object.entries(names).map(([name, ready]) => ({ name, ready, version: 'v1.36.3+k3s1' })),
  })

test('404 for a cluster that is not there, 422 for a cursor of another list', async () => {
  assert.is((await desk.call('GET', '/clusters/nowhere/nodes')).status, 404)
  await addCluster(desk.world, { name: 'bad-cursor' })
  assert.is((await desk.call('GET', '/clusters/bad-cursor/nodes?cursor=%20')).status, 422)
})

test('200 shows what both know, what only the roll knows, and what only the cluster shows', async () => {
  const cluster = await addCluster(desk.world, { name: 'site-a' })
  for (const serial of ['BOX-1', 'BOX-2', 'BOX-3']) await box(cluster, serial)
  const first = desk.world.now()
  await see(cluster, { 'box-1': true, 'box-2': false, stranger: true })
  desk.world.clock.now += 100
  await see(cluster, { 'box-1': null, stranger: true })
  const now = desk.world.now()
  const { body } = await desk.call('GET', '/clusters/site-a', undefined, { as: 'read' })
  const sight = { ready: null, since: now, version: 'v1.36.3+k3s1', source: 'server', gone_at: null }
  const device = { role: 'agent', stranger: false, enrolled: true }
  assert.equal(body.nodes, [
    { ...device, name: 'box-1', serial: 'BOX-1', state: 'ready', observed: true, node: { ...sight, seen_at: now } },
    {
      ...device,
      name: 'box-2',
      serial: 'BOX-2',
      state: 'joined',
      observed: true,
      node: { ...sight, seen_at: first, gone_at: now },
    },
    { ...device, name: 'box-3', serial: 'BOX-3', state: 'enrolled', observed: false, node: null },
    {
      name: 'stranger',
      serial: null,
      role: null,
      state: null,
      observed: false,
      stranger: true,
      enrolled: false,
      node: { ...sight, ready: true, since: first, seen_at: first },
    },
  ])
  assert.is(body.observed_at, now)
  const shown = await desk.call('GET', '/devices/BOX-1')
  assert.equal([shown.body.reported, shown.body.node.ready, shown.body.node.since], [false, null, now])
  assert.is((await desk.call('GET', '/devices/BOX-3')).body.node, null)
})

test('200 goes on showing the Node of a device that was revoked, until it is gone', async () => {
  const cluster = await addCluster(desk.world, { name: 'site-revoked' })
  await box(cluster, 'GONE-1')
  await see(cluster, { 'gone-1': true })
  assert.is((await desk.call('POST', '/devices/GONE-1/revoke')).status, 200)
  await see(cluster, { 'gone-1': true })
  const [node] = (await desk.call('GET', '/clusters/site-revoked/nodes')).body.items
  assert.equal(
    [node.serial, node.role, node.state, node.stranger, node.enrolled, node.node.ready],
    ['GONE-1', 'agent', 'revoked', false, false, true],
  )
})

test('200 comes in pages, by name', async () => {
  const cluster = await addCluster(desk.world, { name: 'site-pages' })
  await see(cluster, { b: true, a: true, 'c.d': true, 'c-d': true })
  const names: string[] = []
  for (let cursor = ''; ; ) {
    const { body } = await desk.call('GET', `/clusters/site-pages/nodes?limit=1${cursor}`)
    names.push(...body.items.map(({ name }: { name: string }) => name))
    if (body.next_cursor === null) break
    cursor = `&cursor=${body.next_cursor}`
  }
  assert.equal(names, ['a', 'b', 'c-d', 'c.d'])
})

test('200 says what the cluster still has to do, and why that failed', async () => {
  const cluster = await addCluster(desk.world, { name: 'site-tasks' })
  await desk.world.db.transaction((tx) =>
    queueTask(
      desk.world,
      tx,
      ...['n1', 'n2', 'n3'].map((subject) => ({ clusterId: cluster, verb: 'node-delete' as const, subject })),
    ),
  )
  const empty = await desk.call('GET', '/clusters/site-tasks')
  assert.equal(empty.body.tasks, { waiting: 3, last_failure: null })
  const at = new Date(desk.world.now() * 1000)
  await desk.world.db
    .update(tasks)
    .set({ reason: 'no route to host', result: 'fail', sentAt: at, attempts: 2 })
    .where(eq(tasks.subject, 'n2'))
  const failure = { verb: 'node-delete', subject: 'n2', reason: 'no route to host', attempts: 2, at: desk.world.now() }
  assert.equal((await desk.call('GET', '/clusters/site-tasks')).body.tasks, { waiting: 3, last_failure: failure })
})

test('200 and a kubeconfig that is kept is wiped when it is no longer wanted', async () => {
  const input = { name: 'site-escrow', version: 'v1.36.3+k3s1', allow_unpinned: true, datastore: { kind: 'sqlite' } }
  const made = await desk.call('POST', '/clusters', { ...input, escrow_kubeconfig: true })
  assert.equal([made.status, made.body.escrow_kubeconfig, made.body.kubeconfig_at], [201, true, null])
  const kept = { kubeconfigSealed: new Uint8Array([1]), kubeconfigAt: new Date(desk.world.now() * 1000) }
  await desk.world.db.update(clusters).set(kept).where(eq(clusters.name, 'site-escrow'))
  const same = await desk.call('PATCH', '/clusters/site-escrow', { tls_sans: ['192.0.2.1'] })
  assert.is(same.body.kubeconfig_at, desk.world.now())
  const off = await desk.call('PATCH', '/clusters/site-escrow', { escrow_kubeconfig: false })
  assert.is(off.body.kubeconfig_at, null)
  const [row] = await desk.world.db.select().from(clusters).where(eq(clusters.name, 'site-escrow'))
  assert.is(row?.kubeconfigSealed, null)
})
