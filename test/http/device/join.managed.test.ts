import { and, eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import type { ManagedDatastore } from '../../../src/datastore/managed.ts'
import { caHash } from '../../../src/k3s/ca-hash.ts'
import { acceptRotation } from '../../../src/services/accept-rotation.ts'
import { unconditional } from '../../../src/services/actor.ts'
import { commandDevice } from '../../../src/services/command-device.ts'
import { releaseInitializer } from '../../../src/services/release-initializer.ts'
import { resetCluster } from '../../../src/services/reset-cluster.ts'
import { datastoreLogins } from '../../../src/store/cluster-schema.ts'
import { clusters } from '../../../src/store/declared-schema.ts'
import { enrollments } from '../../../src/store/schema.ts'
import { audit } from '../../../src/store/server-schema.ts'
import { type Desk, openDesk } from '../../fakes/desk.ts'
import { GateBox } from '../../fakes/gate-box.ts'
import { addCluster, addProfile, makeManagedWorld, type World } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('POST /v1/join on a managed datastore', { timeout: 120_000 })

let desk: Desk
let world: World & { managed: ManagedDatastore }
let profile: string
let count = 0
const token = 'f0'.repeat(32)
const turnLasts = 901

test.before(async () => {
  world = await makeManagedWorld()
  desk = await openDesk(world)
  profile = await addProfile(world)
})
test.after(() => world.end())

async function virgin(servers: number, on: { desk: Desk; profile: string } = { desk, profile }) {
  const datastore = { kind: 'managed' } as const
  const name = `managed-${++count}`
  const id = await addCluster(on.desk.world, { name, caHash: null, state: 'virgin', datastore })
  await on.desk.world.managed?.declare(id)
  const boxes: GateBox[] = []
  for (let n = 0; n < servers; n++) boxes.push(await GateBox.add(on.desk, { profile: on.profile, cluster: id }))
  return { id, name, boxes: boxes as [GateBox, GateBox, ...GateBox[]] }
}
const rowOf = async (id: string) => {
  const [row] = await world.db.select().from(clusters).where(eq(clusters.id, id))
  return row as NonNullable<typeof row>
}
const openLogins = async (id: string) => {
  const rows = await world.db.select().from(datastoreLogins).where(eq(datastoreLogins.clusterId, id))
  return rows.filter((row) => row.fencedAt === null).map((row) => row.enrollmentId)
}
const auditOf = async (name: string) =>
  (
    await world.db
      .select()
      .from(audit)
      .where(eq(audit.target, `cluster:${name}`))
  ).map((row) => row.action)
const askAll = (boxes: readonly GateBox[]) => Promise.all(boxes.map((box) => box.ask()))
const admin = { name: 'test' }

/** With one way in which Postgres fails. */
async function failing<T>(method: keyof ManagedDatastore, work: () => Promise<T>, once?: () => Promise<void>) {
  const real = world.managed[method] as () => Promise<unknown>
  const broken = async (...args: unknown[]) => {
    if (!once) throw Object.assign(new Error('the server is going down'), { code: '57P01' })
    Object.assign(world.managed, { [method]: real })
    await once()
    return (real as (...args: unknown[]) => Promise<unknown>)(...args)
  }
  Object.assign(world.managed, { [method]: broken })
  try {
    return await work()
  } finally {
    Object.assign(world.managed, { [method]: real })
  }
}

test('503 datastore_unavailable while Postgres refuses: the ticket stays good, and no turn is lost', async () => {
  const { id, boxes } = await virgin(2)
  for (const method of ['readBootstrap', 'makeLogin'] as const) {
    assert.is(await failing(method, () => boxes[0].ask()), '503 datastore_unavailable')
    const [live] = await world.db.select().from(enrollments).where(eq(enrollments.id, boxes[0].enrollment))
    assert.equal([live?.redeemedAt ?? null, live?.endedAt ?? null], [null, null])
  }
  assert.is((await rowOf(id)).initializerDeviceId, boxes[0].id)
  assert.is(await boxes[1].ask(), '503 cluster_not_ready')
  assert.is(await boxes[0].ask(), '200')
  assert.ok(await boxes[0].canWrite())
})

test('gives a login with the token, and none to those who wait', async () => {
  const { id, boxes } = await virgin(3)
  assert.is(await boxes[0].ask(), '200')
  assert.equal(await askAll(boxes.slice(1)), ['503 cluster_not_ready', '503 cluster_not_ready'])
  assert.equal(await openLogins(id), [boxes[0].enrollment])
  assert.equal([await boxes[0].canWrite(), await boxes[1].canWrite()], [true, false])
})

test('a first server that comes up and never says so: its row is ready, so the others are let in at once', async () => {
  const { id, name, boxes } = await virgin(3)
  await boxes[0].ask()
  const sql = await boxes[0].session()
  await boxes[0].lock(sql, token)
  assert.equal(await askAll(boxes.slice(1)), ['503 cluster_not_ready', '503 cluster_not_ready'])
  assert.is((await rowOf(id)).bootstrap, 'locked')
  const ca = await boxes[0].finish(sql, token)
  assert.equal(await askAll(boxes.slice(1)), ['200', '200'])
  const row = await rowOf(id)
  assert.equal(
    [row.state, row.caHash, row.caHashFrom, row.initializerDeviceId],
    ['up', caHash(Buffer.from(ca)), 'datastore', null],
  )
  assert.is((await openLogins(id)).length, 3)
  assert.is(await boxes[0].says(caHash(Buffer.from(ca)) as string), 204)
  assert.not((await rowOf(id)).caHashConfirmedAt === null)
  assert.equal(await auditOf(name), [])
  await sql.end()
})

test('a first server that never starts, or dies with the lock taken: its login and sessions end before the next one goes', async () => {
  for (const dies of ['before it starts', 'with the lock taken']) {
    const { id, name, boxes } = await virgin(3)
    const [first, second, third] = boxes
    await first.ask()
    const sql = await first.session()
    if (dies !== 'before it starts') await first.lock(sql, token)
    else await sql`select 1`
    world.clock.now += turnLasts
    assert.is(await second.ask(), '200', dies)
    assert.equal((await rowOf(id)).initializerDeviceId, second.id)
    assert.equal(await openLogins(id), [second.enrollment])
    assert.is(
      await sql`select 1`.then(
        () => 'alive',
        () => 'ended',
      ),
      'ended',
    )
    assert.equal([await first.canWrite(), await second.canWrite()], [false, true])
    assert.equal(await auditOf(name), ['cluster.lease.passed'])
    // It asks again like everybody, and is let in when the cluster is up.
    assert.equal([await first.ask(), await third?.ask()], ['503 cluster_not_ready', '503 cluster_not_ready'])
    const again = await second.session()
    await second.finish(again, token)
    assert.equal([await first.ask(), await third?.ask()], ['200', '200'])
    assert.ok(await first.canWrite())
    await again.end()
    await sql.end({ timeout: 0 })
  }
})

test('a first server that is late and makes it just before it is fenced keeps its cluster and its login', async () => {
  const { id, boxes } = await virgin(2)
  const [first, second] = boxes
  await first.ask()
  const sql = await first.session()
  await first.lock(sql, token)
  world.clock.now += turnLasts
  const late = async () => {
    await first.finish(sql, token)
  }
  assert.is(await failing('fenceLogin', () => second.ask(), late), '200')
  assert.equal([(await rowOf(id)).state, (await openLogins(id)).length], ['up', 2])
  assert.ok(await first.canWrite())
  await sql.end({ timeout: 0 })
})

test('a first server that claims again goes on with a login of its own; the one before can write no more', async () => {
  const { id, boxes } = await virgin(2)
  const [first, second] = boxes
  await first.ask()
  const sql = await first.session()
  await first.lock(sql, token)
  const again = await first.again()
  assert.equal(
    [await first.ask(), await second.ask(), await again.ask()],
    ['401 token_invalid', '503 cluster_not_ready', '200'],
  )
  assert.equal(await openLogins(id), [again.enrollment])
  assert.equal([await first.canWrite(), await again.canWrite()], [false, true])
  await sql.end({ timeout: 0 })
})

test('nobody follows while the one that lost its turn cannot be fenced', async () => {
  const { id, boxes } = await virgin(2)
  await boxes[0].ask()
  world.clock.now += turnLasts
  assert.is(await failing('fenceLogin', () => boxes[1].ask()), '503 datastore_unavailable')
  assert.equal(await openLogins(id), [boxes[0].enrollment])
  assert.is(await boxes[0].ask(), '503 cluster_not_ready')
  assert.is(await boxes[1].ask(), '200')
  assert.equal(await openLogins(id), [boxes[1].enrollment])
})

test('a lie about the CA hash brings nothing up, and stops the line when the truth is read', async () => {
  const { id, name, boxes } = await virgin(3)
  const [first, second] = boxes
  await first.ask()
  const lie = '66'.repeat(32)
  await first.says(lie)
  assert.equal([(await rowOf(id)).state, (await rowOf(id)).caHash], ['initializing', lie])
  assert.is(await second.ask(), '503 cluster_not_ready')
  const sql = await first.session()
  const truth = caHash(Buffer.from(await first.finish(sql, token))) as string
  assert.equal(await askAll(boxes), Array(3).fill('503 cluster_not_ready'))
  const row = await rowOf(id)
  assert.is(row.state, 'stuck')
  for (const part of [lie, truth, first.id, 'datastore']) assert.match(row.stuckReason ?? '', part)
  assert.equal(await auditOf(name), ['cluster.alarm.ca_hash'])
  const said = { ca_hash: truth }
  await acceptRotation(world, admin, { name, precondition: unconditional }, said)
  assert.equal(await askAll(boxes), ['200', '200', '200'])
  await sql.end()
})

test('a first server that says that it is Ready while its row is virgin keeps nobody waiting', async () => {
  for (const ends of ['its turn ends', 'its turn is taken from it']) {
    const { id, name, boxes } = await virgin(2)
    const [liar, second] = boxes
    await liar.ask()
    for (let minute = 0; minute < 16; minute++) {
      assert.is(await liar.says('66'.repeat(32), [liar.serial.toLowerCase()]), 204)
      world.clock.now += 60
    }
    const [row] = await world.db.select().from(enrollments).where(eq(enrollments.id, liar.enrollment))
    assert.equal([row?.joinedAt ?? null, row?.observed], [null, false])
    if (ends === 'its turn is taken from it')
      await releaseInitializer(world, admin, { name, precondition: unconditional })
    assert.is(await second.ask(), '200', ends)
    assert.equal([(await rowOf(id)).initializerDeviceId, (await rowOf(id)).caHash], [second.id, null])
    assert.equal(await openLogins(id), [second.enrollment])
    assert.not(await liar.canWrite())
  }
})

test('a first server that took the lock keeps its turn by what it tells, and by asking again', async () => {
  const { id, boxes } = await virgin(2)
  const [first, second] = boxes
  await first.ask()
  const sql = await first.session()
  await first.lock(sql, token)
  for (const keep of [() => first.says('66'.repeat(32)), () => first.ask()]) {
    world.clock.now += 600
    await keep()
    world.clock.now += 600
    assert.is(await second.ask(), '503 cluster_not_ready')
    assert.is((await rowOf(id)).initializerDeviceId, first.id)
  }
  await sql.end()
})

test('a table that is none stops the line until an admin looked, and then again', async () => {
  const { id, name, boxes } = await virgin(2)
  await boxes[0].ask()
  const sql = await boxes[0].session()
  await sql.unsafe('create view kine as select 1 as id')
  assert.equal(await askAll(boxes), Array(2).fill('503 cluster_not_ready'))
  assert.match((await rowOf(id)).stuckReason ?? '', /^datastore_tampered/)
  assert.is(await boxes[0].says('66'.repeat(32), [boxes[0].serial.toLowerCase()]), 204)
  assert.match((await rowOf(id)).stuckReason ?? '', /^datastore_tampered/, 'the first server talks it away')
  await releaseInitializer(world, admin, { name, precondition: unconditional })
  assert.is(await boxes[1].ask(), '503 cluster_not_ready')
  assert.equal(await auditOf(name), ['cluster.stuck', 'cluster.release-initializer', 'cluster.stuck'])
  await resetCluster(world, admin, { name, precondition: unconditional }, { force: true })
  assert.is((await rowOf(id)).state, 'virgin')
  assert.not(await boxes[0].canWrite())
  await sql.end({ timeout: 0 })
})

test('a first server that holds its table keeps no turn by what it tells', async () => {
  const { id, boxes } = await virgin(2)
  const [first] = boxes
  await first.ask()
  const sql = await first.session()
  await first.lock(sql, token)
  const since = (await rowOf(id)).initializerUntil
  world.clock.now += 60
  await sql.begin(async (tx) => {
    await tx.unsafe('lock table kine in access exclusive mode')
    assert.is(await first.says('66'.repeat(32), [first.serial.toLowerCase()]), 204)
    assert.equal((await rowOf(id)).initializerUntil, since)
  })
  assert.is(await first.says('66'.repeat(32)), 204)
  assert.not.equal((await rowOf(id)).initializerUntil, since)
  await sql.end()
})

test('a row that another token sealed stops the line', async () => {
  const { id, boxes } = await virgin(2)
  await boxes[0].ask()
  const sql = await boxes[0].session()
  await boxes[0].lock(sql, token)
  await sql`update kine set value = ${Buffer.from(`aa:${Buffer.alloc(80, 7).toString('base64')}`)}`
  assert.is(await boxes[1].ask(), '503 cluster_not_ready')
  assert.match((await rowOf(id)).stuckReason ?? '', 'not of this token')
  await sql.end()
})

test('revoke ends login and sessions before it answers, however often the machine asks again', async () => {
  const { id, boxes } = await virgin(2)
  const [bad, good] = boxes
  await bad.ask()
  const sql = await bad.session()
  await bad.finish(sql, token)
  assert.is(await good.ask(), '200')
  const asking = Array.from({ length: 5 }, () => bad.ask())
  const shown = await commandDevice(world, admin, { serial: bad.serial, verb: 'revoke', precondition: unconditional })
  await Promise.all(asking)
  assert.equal([shown.body.state, shown.body.unfinished.includes('login')], ['revoked', false])
  assert.is(await bad.ask(), '401 token_invalid')
  assert.equal([await bad.canWrite(), await good.canWrite()], [false, true])
  assert.is(
    await sql`select 1`.then(
      () => 'alive',
      () => 'ended',
    ),
    'ended',
  )
  assert.is((await rowOf(id)).state, 'compromised')
  assert.is(await good.ask(), '503 cluster_not_ready')
  await sql.end({ timeout: 0 })
})

test('revoke says what it could not end yet', async () => {
  const { boxes } = await virgin(1)
  await boxes[0].ask()
  const revoke = () =>
    commandDevice(world, admin, { serial: boxes[0].serial, verb: 'revoke', precondition: unconditional })
  const shown = await failing('fenceLogin', revoke)
  assert.ok(shown.body.unfinished.some((line) => line.startsWith('its datastore login')))
  assert.is(shown.body.state, 'revoked')
})

test('reset 409 without force while the datastore holds a cluster; with it the rows are gone, and nobody may write', async () => {
  const { id, name, boxes } = await virgin(2)
  await boxes[0].ask()
  const sql = await boxes[0].session()
  await boxes[0].finish(sql, token)
  const request = { name, precondition: unconditional }
  await assertConflict(() => resetCluster(world, admin, request, {}), 'enrolled')
  await world.db.update(enrollments).set({ endedAt: new Date() }).where(eq(enrollments.clusterId, id))
  await assertConflict(() => resetCluster(world, admin, request, {}), 'not empty')
  await resetCluster(world, admin, request, { force: true })
  assert.equal(await world.managed.readBootstrap(id, token), { state: 'virgin', value: undefined })
  assert.not(await boxes[0].canWrite())
  await sql.end({ timeout: 0 })
})

async function assertConflict(work: () => Promise<unknown>, detail: string) {
  try {
    await work()
  } catch (error) {
    assert.match((error as { detail?: string }).detail ?? '', detail)
    return
  }
  assert.unreachable('no conflict')
}

test('fifty servers at once: one goes first, in each of twenty runs', async () => {
  for (let run = 0; run < 20; run++) {
    const { id, boxes } = await virgin(50)
    const answers = await askAll(boxes)
    const waiting = answers.filter((answer) => answer === '503 cluster_not_ready').length
    assert.equal([answers.filter((answer) => answer === '200').length, waiting], [1, 49], `run ${run}`)
    const first = boxes[answers.indexOf('200')] as GateBox
    assert.equal(await openLogins(id), [first.enrollment])
    assert.is((await rowOf(id)).initializerDeviceId, first.id)
    const where = and(eq(enrollments.clusterId, id), eq(enrollments.redeemedBy, 'proof'))
    assert.is((await world.db.select().from(enrollments).where(where)).length, 1)
  }
})
