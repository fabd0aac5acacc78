import { eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { unconditional } from '../../../src/services/actor.ts'
import { commandDevice, type DeviceVerb } from '../../../src/services/command-device.ts'
import { clusters } from '../../../src/store/declared-schema.ts'
import { enrollments } from '../../../src/store/schema.ts'
import { type Desk, openDesk, problemOf } from '../../fakes/desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('a revoked or retired device')

let desk: Desk
let profile: string
let count = 0

test.before(async () => {
  desk = await openDesk()
  profile = await addProfile(desk.world)
})
test.after(() => desk.world.end())

const datastore = { kind: 'postgres', endpoint: 'postgres://k3s:pw@db.test:5432/k3s' } as const

/** A server of its own cluster that has redeemed its ticket. */
async function server(kind: 'postgres' | 'sqlite' = 'postgres') {
  count++
  const device = new FakeDevice(`END-${count}`)
  const cluster = await addCluster(desk.world, { name: `end-${count}`, ...(kind === 'postgres' ? { datastore } : {}) })
  const id = await addDevice(desk.world, device, { profile, cluster })
  const document = await (await desk.enrol(device)).text()
  const ticket = /ROLLCALL_JOIN='([A-Za-z0-9_-]{40,})'/.exec(document)?.[1] as string
  const report = /\/v1\/report\/([A-Za-z0-9_-]+)/.exec(document)?.[1] as string
  const token = await (await desk.redeem(ticket, device.joinProof(await desk.nonce(), ticket))).text()
  return { device, id, cluster, ticket, report, token }
}

const verb = (device: FakeDevice, name: DeviceVerb) =>
  commandDevice(desk.world, { name: 'test' }, { serial: device.serial, verb: name, precondition: unconditional })
const clusterOf = async (id: string) => (await desk.world.db.select().from(clusters).where(eq(clusters.id, id)))[0]
const codeOf = async (answer: Promise<Response>) => (await problemOf(await answer)).code

test('learns which it is once it proved itself, and every secret it was given is dead', async () => {
  const box = await server()
  await verb(box.device, 'revoke')
  assert.is(await codeOf(desk.enrol(box.device)), 'device_revoked')
  const proof = box.device.joinProof(await desk.nonce(), box.ticket)
  assert.is(await codeOf(desk.redeem(box.ticket, proof)), 'token_invalid')
  assert.is((await desk.report(box.report, { step: 'k3s.ready', result: 'ok' })).status, 404)
  const [row] = await desk.world.db.select().from(enrollments).where(eq(enrollments.deviceId, box.id))
  assert.is(row?.endReason, 'revoked')
  assert.is(row?.documentSealed, null)

  const retired = await server()
  await verb(retired.device, 'retire')
  assert.is(await codeOf(desk.enrol(retired.device)), 'device_retired')
  await verb(retired.device, 'revoke')
  assert.is(await codeOf(desk.enrol(retired.device)), 'device_revoked')
  await verb(retired.device, 'retire')
  assert.is(await codeOf(desk.enrol(retired.device)), 'device_revoked')
})

test('may enrol again once it is reinstated', async () => {
  const box = await server()
  await verb(box.device, 'retire')
  await verb(box.device, 'reinstate')
  assert.is((await desk.enrol(box.device)).status, 200)
})

test('leaves its cluster compromised if it ever knew the server token, whatever became of that enrollment', async () => {
  const plain = await server()
  await verb(plain.device, 'revoke')
  assert.is((await clusterOf(plain.cluster))?.state, 'compromised')

  const again = await server()
  await desk.enrol(again.device)
  await verb(again.device, 'revoke')
  assert.is((await clusterOf(again.cluster))?.state, 'compromised')

  const retired = await server()
  await verb(retired.device, 'retire')
  assert.is((await clusterOf(retired.cluster))?.state, 'up')
  await verb(retired.device, 'revoke')
  assert.is((await clusterOf(retired.cluster))?.state, 'compromised')
})

test('leaves its cluster alone if it never redeemed', async () => {
  const device = new FakeDevice('END-NEVER')
  const cluster = await addCluster(desk.world, { name: 'end-never', datastore })
  await addDevice(desk.world, device, { profile, cluster })
  await desk.enrol(device)
  await verb(device, 'revoke')
  assert.is((await clusterOf(cluster))?.state, 'up')
})

test('frees a SQLite cluster for another server, with another token if it was revoked', async () => {
  const box = await server('sqlite')
  await verb(box.device, 'revoke')
  const row = await clusterOf(box.cluster)
  assert.is(row?.state, 'virgin')
  const next = new FakeDevice('END-NEXT')
  await addDevice(desk.world, next, { profile, cluster: box.cluster })
  const document = await (await desk.enrol(next)).text()
  const ticket = /ROLLCALL_JOIN='([A-Za-z0-9_-]{40,})'/.exec(document)?.[1] as string
  const token = await (await desk.redeem(ticket, next.joinProof(await desk.nonce(), ticket))).text()
  assert.match(token, /^[0-9a-f]{64}$/)
  assert.is.not(token, box.token)
})
