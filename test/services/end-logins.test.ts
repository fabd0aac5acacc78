import * as assert from 'uvu/assert'
import type { ManagedDatastore } from '../../src/datastore/managed.ts'
import { loginPassword, loginRole } from '../../src/k3s/datastore-names.ts'
import { dropEndedLogins, fenceLogins } from '../../src/services/end-logins.ts'
import { noteLogin } from '../../src/store/gate-logins.ts'
import { FakeDevice } from '../fakes/device.ts'
import { addEnrollment } from '../fakes/enrollment.ts'
import { addCluster, addDevice, addProfile, makeManagedWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('the end of datastore logins')
let world: World & { managed: ManagedDatastore }
let profile: string
let clusterId: string
let n = 0

test.before(async () => {
  world = await makeManagedWorld()
  profile = await addProfile(world)
  clusterId = await addCluster(world, { datastore: { kind: 'managed' } })
  await world.managed.declare(clusterId)
})
test.after(() => world?.end())

/** A server with a login, as redeem leaves it. */
async function server() {
  const device = new FakeDevice(`SN-${++n}`)
  const deviceId = await addDevice(world, device, { profile, cluster: clusterId })
  const enrollmentId = await enrol(device.serial, deviceId)
  return { deviceId, enrollmentId, serial: device.serial }
}

async function enrol(serial: string, deviceId: string): Promise<string> {
  const enrollmentId = await addEnrollment(world, serial, { role: 'server', redeemed: true })
  await noteLogin(world.sql, { clusterId, deviceId, enrollmentId } as never, world.now())
  await world.managed.makeLogin(clusterId, enrollmentId, loginPassword(world.keys.nodePassword, enrollmentId))
  return enrollmentId
}

const end = (id: string, reason: string) =>
  world.sql`update enrollments set ended_at = to_timestamp(${world.now()}), end_reason = ${reason} where id = ${id}`
const role = async (id: string) =>
  (await world.sql<{ in: boolean }[]>`select rolcanlogin as in from pg_roles where rolname = ${loginRole(id)}`)[0]?.in
const row = async (id: string) => {
  const [found] = await world.sql<{ fenced: boolean; dropped: boolean }[]>`
    select fenced_at is not null as fenced, dropped_at is not null as dropped from datastore_logins where enrollment_id = ${id}`
  return found
}

test('a live enrollment’s login is left alone by the sweep', async () => {
  const { enrollmentId } = await server()
  await dropEndedLogins(world)
  assert.is(await role(enrollmentId), true)
  assert.equal(await row(enrollmentId), { fenced: false, dropped: false })
})

test('fencing a device takes its login at once; the sweep drops it when its enrollment has ended', async () => {
  const { deviceId, enrollmentId } = await server()
  await fenceLogins(world, { deviceId })
  assert.is(await role(enrollmentId), false)
  assert.equal(await row(enrollmentId), { fenced: true, dropped: false })
  await dropEndedLogins(world)
  assert.is(await role(enrollmentId), false)
  await end(enrollmentId, 'revoked')
  await dropEndedLogins(world)
  assert.is(await role(enrollmentId), undefined)
  assert.equal(await row(enrollmentId), { fenced: true, dropped: true })
})

test('a replaced enrollment’s login goes when the new one has its own', async () => {
  const { deviceId, enrollmentId, serial } = await server()
  await end(enrollmentId, 'replaced')
  await dropEndedLogins(world)
  assert.is(await role(enrollmentId), true)
  const next = await enrol(serial, deviceId)
  await dropEndedLogins(world, deviceId)
  assert.is(await role(enrollmentId), undefined)
  assert.is(await role(next), true)
})

test('a replaced enrollment’s login goes after an hour, though no new one came', async () => {
  const { enrollmentId } = await server()
  await end(enrollmentId, 'replaced')
  world.clock.now += 3_599
  await dropEndedLogins(world)
  assert.is(await role(enrollmentId), true)
  world.clock.now += 1
  await dropEndedLogins(world)
  assert.is(await role(enrollmentId), undefined)
})

test('what failed while Postgres was away is tried again', async () => {
  const { enrollmentId } = await server()
  await end(enrollmentId, 'retired')
  const away = { ...world.managed, dropLogin: () => Promise.reject(new Error('connect ECONNREFUSED')) }
  await dropEndedLogins({ ...world, managed: away })
  assert.equal(await row(enrollmentId), { fenced: false, dropped: false })
  await dropEndedLogins(world)
  assert.is(await role(enrollmentId), undefined)
})
