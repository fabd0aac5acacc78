import { setTimeout as sleep } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { parseAllDocuments } from 'yaml'
import { accessManifest } from '../../src/k3s/access-manifest.ts'
import type { ClusterAccess } from '../../src/k3s/cluster.ts'
import { startAccessRunner } from '../../src/services/access-runner.ts'
import { callCluster } from '../../src/services/call-cluster.ts'
import { queueTask, type Task } from '../../src/services/queue-task.ts'
import { takeAccessClusters } from '../../src/store/access.ts'
import { FakeDevice } from '../fakes/device.ts'
import { addEnrollment } from '../fakes/enrollment.ts'
import type { Json } from '../fakes/k3s/objects.ts'
import { nodes, resources, secrets } from '../fakes/k3s/resources.ts'
import { type Simulator, startSimulator } from '../fakes/k3s/simulator.ts'
import { FakeKubeApi } from '../fakes/kube-api.ts'
import { addCluster, addDevice, addProfile, makeWorld, type World } from '../fakes/world.ts'
import { testsWithKine } from '../kine/program.ts'
import { suite } from '../suite.ts'

const test = suite('clusters with access', { timeout: 60_000 })
let world: World
let api: FakeKubeApi
let profile: string
let simulator: Simulator | undefined
let count = 0
test.before(async () => {
  world = await makeWorld()
  api = await FakeKubeApi.start()
  profile = await addProfile(world, { name: 'agent', role: 'agent' })
})
test.after(async () => {
  api.stop()
  await simulator?.stop()
  await world.end()
})

async function newCluster(access: ClusterAccess) {
  const id = await addCluster(world, { name: `access-${++count}` })
  const sealed = world.vault.seal(`clusters/${id}/access`, JSON.stringify(access))
  await world.sql`update clusters set access_sealed = ${Buffer.from(sealed)} where id = ${id}`
  const memory = { failures: 0, lookedAt: 0 }
  const turn = async () => {
    await world.sql`update clusters set observe_after = null where id = ${id}`
    const due = await takeAccessClusters(world.sql, world.now(), 60, 100)
    const cluster = due.find((one) => one.id === id)
    assert.ok(cluster)
    await callCluster(world, cluster as never, memory, new AbortController().signal)
  }
  return { id, memory, turn }
}
const queue = (...tasks: Task[]) => world.db.transaction((tx) => queueTask(world, tx, ...tasks))
const tasksOf = (clusterId: string) =>
  world.sql`select verb, result, reason, attempts, secret_sealed is null as wiped from tasks where cluster_id = ${clusterId} order by verb`
const troubleOf = async (clusterId: string) =>
  (await world.sql`select observe_trouble from clusters where id = ${clusterId}`)[0]?.observe_trouble
const token = (clusterId: string, more: Partial<Task> = {}): Task => ({
  clusterId,
  verb: 'token-create',
  subject: 'abcdef',
  secret: '0123456789abcdef',
  expiresAt: Math.floor(Date.now() / 1000) + 3600,
  ...more,
})

test('takes no task for a cluster that is away, says so, and goes on when it is back', async () => {
  const { id, memory, turn } = await newCluster(api.access)
  await queue(token(id))
  api.answer = () => ({ status: 401, body: {} })
  await turn()
  await turn()
  assert.is(await troubleOf(id), 'its API cannot be used: it refuses the token (401)')
  assert.is(memory.failures, 2)
  assert.is((await tasksOf(id))[0]?.attempts, 0)
  api.answer = (call) => ({ status: call.startsWith('POST') ? 201 : 200, body: { items: [] } })
  await turn()
  assert.is(await troubleOf(id), null)
  assert.equal(
    { ...(await tasksOf(id))[0] },
    { verb: 'token-create', result: 'ok', reason: null, attempts: 1, wiped: true },
  )
})

test('gives the cluster’s own reason for what it refuses, and never the secret; the other tasks go on', async () => {
  const { id, turn } = await newCluster(api.access)
  await queue(
    token(id),
    { clusterId: id, verb: 'node-ban', subject: 'n1' },
    { clusterId: id, verb: 'token-delete', subject: 'uvwxyz' },
  )
  api.answer = (call) => {
    if (call.startsWith('GET')) return { status: 403, body: { message: 'nodes is forbidden' } }
    if (call.includes('secrets') && call.startsWith('POST'))
      return { status: 422, body: { message: 'Secret is invalid: "0123456789abcdef"' } }
    return { status: call.startsWith('POST') ? 403 : 404, body: { message: 'no right' } }
  }
  await turn()
  assert.equal(
    (await tasksOf(id)).map(({ verb, result, reason }) => [verb, result, reason]),
    [
      ['node-ban', 'fail', 'it refuses (403): no right; see the access manifest, --with-bans'],
      ['token-create', 'fail', 'the cluster refuses it'],
      ['token-delete', 'ok', null],
    ],
  )
  await queue({ clusterId: id, verb: 'node-delete', subject: 'n1' })
  await turn()
  assert.equal((await tasksOf(id)).map(({ verb, result }) => `${verb} ${result}`).slice(0, 2), [
    'node-ban fail',
    'node-delete ok',
  ])
  assert.is(await troubleOf(id), 'its Nodes cannot be read: it refuses (403): nodes is forbidden')
})

test('keeps nothing of Nodes whose names are none, and what it does not know as strangers', async () => {
  const { id, turn } = await newCluster(api.access)
  const named = ['n1', 'a\u0000b', '<script>', 'N1', '..', 'x'.repeat(300)]
  api.answer = () => ({ status: 200, body: { items: named.map((name) => ({ metadata: { name } })) } })
  await turn()
  const rows = await world.sql`select name, device_id, source from nodes where cluster_id = ${id}`
  assert.equal(
    rows.map((row) => ({ ...row })),
    [{ name: 'n1', device_id: null, source: 'api' }],
  )
})

test('is one server’s at a time', async () => {
  const { id } = await newCluster(api.access)
  const both = await Promise.all([1, 2].map(() => takeAccessClusters(world.sql, world.now(), 60, 100)))
  assert.is(both.flat().filter((one) => one.id === id).length, 1)
})

/** As `kubectl apply` of the manifest leaves it, but for the policy: the simulator knows too little CEL for it. */
async function admitRollcall({ store, url, files }: Simulator): Promise<ClusterAccess> {
  for (const document of parseAllDocuments(accessManifest({ bans: true }))) {
    const object = document.toJS() as Json
    const resource = resources.find(({ kind }) => kind === object.kind)
    assert.ok(resource, object.kind)
    if (object.kind.startsWith('ValidatingAdmissionPolicy')) continue
    const data = object.kind === 'Secret' ? { data: { token: Buffer.from(api.token).toString('base64') } } : {}
    await store.create(resource as never, { ...object, ...data } as Json)
  }
  return { endpoint: url, ca: files.ServerCA as string, token: api.token }
}

testsWithKine(test)(
  'publishes a token, sees the Node that joined, deletes the token, Node and bans by the API of a K3s',
  async () => {
    simulator = await startSimulator()
    const { store } = simulator
    const { id, turn } = await newCluster(await admitRollcall(simulator))
    const device = new FakeDevice(`AGENT-${count}`)
    const name = device.serial.toLowerCase()
    await addDevice(world, device, { profile, cluster: id })
    const enrollmentId = await addEnrollment(world, device.serial, { role: 'agent' })
    await queue(token(id, { enrollmentId }))
    await turn()
    const kept = (await store.get(secrets, 'bootstrap-token-abcdef', 'kube-system')) as Json
    assert.is(Buffer.from(kept.data['token-secret'], 'base64').toString(), '0123456789abcdef')
    const published = async () =>
      (
        await world.sql`select join_published_at is not null as published, join_deleted_at is not null as deleted,
      joined_at is not null as joined, ready_at is not null as ready from enrollments where id = ${enrollmentId}`
      )[0]
    assert.equal({ ...(await published()) }, { published: true, deleted: false, joined: false, ready: false })

    const conditions = [{ type: 'Ready', status: 'True' }]
    await store.create(nodes, {
      ...{ apiVersion: 'v1', kind: 'Node', metadata: { name } },
      status: { conditions, nodeInfo: { kubeletVersion: 'v1.36.3+k3s1' } },
    } as Json)
    await queue({ clusterId: id, verb: 'token-delete', subject: 'abcdef', enrollmentId })
    world.clock.now += 30
    await turn()
    assert.is(await store.get(secrets, 'bootstrap-token-abcdef', 'kube-system'), undefined)
    assert.equal({ ...(await published()) }, { published: true, deleted: true, joined: true, ready: true })
    const rows =
      await world.sql`select name, source, ready, version from nodes where cluster_id = ${id} and name = ${name}`
    assert.equal({ ...rows[0] }, { name, source: 'api', ready: true, version: 'v1.36.3+k3s1' })

    await queue({ clusterId: id, verb: 'node-ban', subject: name })
    await turn()
    await queue({ clusterId: id, verb: 'node-delete', subject: name })
    await turn()
    assert.is(await store.get(nodes, name), undefined)
    assert.ok((await tasksOf(id)).every(({ result }) => result === 'ok'))
  },
)

test('runs by itself until it is stopped, and one that never answers keeps no other waiting', async () => {
  await world.sql`update clusters set deleted_at = now()`
  const mute = await FakeKubeApi.start()
  mute.answer = () => undefined
  const [first, second] = [await newCluster(mute.access), await newCluster(api.access)]
  api.answer = (call) => ({ status: call.startsWith('POST') ? 201 : 200, body: { items: [] } })
  await queue(token(second.id))
  const runner = startAccessRunner(world)
  for (let tries = 0; (await tasksOf(second.id))[0]?.result !== 'ok'; tries++) {
    assert.ok(tries < 100)
    await sleep(100)
  }
  await runner.stop()
  mute.stop()
  assert.is(mute.seen.length, 1)
  assert.is(await troubleOf(first.id), null)
})
