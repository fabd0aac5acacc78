import { createHash } from 'node:crypto'
import { eq, isNull, sql } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { devices, enrollments } from '../../../src/store/schema.ts'
import { type Desk, openDesk, problemOf } from '../../fakes/desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('POST /v1/claim: 200')

let desk: Desk
let profile: string
let count = 0

test.before(async () => {
  desk = await openDesk()
  profile = await addProfile(desk.world)
})
test.after(() => desk.world.end())

async function newDevice(change: Parameters<typeof addDevice>[3] = {}, cluster?: Parameters<typeof addCluster>[1]) {
  count++
  const device = new FakeDevice(`SN-${count}`)
  const id = await addCluster(desk.world, { name: `site-${count}`, ...cluster })
  return { device, id: await addDevice(desk.world, device, { profile, cluster: id }, change), cluster: id }
}

const live = (id: string) =>
  desk.world.db
    .select()
    .from(enrollments)
    .where(sql`${enrollments.deviceId} = ${id} and ${enrollments.endedAt} is null`)

test('answers with the document, its enrollment and its digest', async () => {
  const { device, id } = await newDevice()
  const answer = await desk.enrol(device)
  const body = await answer.text()
  assert.is(answer.status, 200, body)
  assert.is(answer.headers.get('content-type'), 'text/cloud-config')
  assert.ok(body.startsWith('#cloud-config\n'))
  assert.is(answer.headers.get('rollcall-digest'), `sha256=${createHash('sha256').update(body).digest('hex')}`)
  const [row] = await live(id)
  assert.is(answer.headers.get('rollcall-enrollment'), row?.id)
  const [state] = await desk.world.db.select({ state: devices.state }).from(devices).where(eq(devices.id, id))
  assert.is(state?.state, 'enrolled')
})

test('takes the key as jwk where only its thumbprint is pinned, and the serial in any case', async () => {
  const { device } = await newDevice({ thumbprintOnly: true })
  const jwk = { kid: undefined, jwk: device.jwk }
  assert.is((await desk.claim(device.claim(await desk.nonce()))).status, 403)
  assert.is((await desk.claim(device.claim(await desk.nonce(), { sub: device.serial.toLowerCase() }, jwk))).status, 200)
})

test('answers the byte-identical retry with the same bytes for 120 s, from one enrollment', async () => {
  const { device, id } = await newDevice()
  const claim = device.claim(await desk.nonce())
  const first = await desk.claim(claim)
  desk.world.clock.now += 120
  const second = await desk.claim(claim)
  assert.is(await second.text(), await first.text())
  assert.is(second.headers.get('rollcall-enrollment'), first.headers.get('rollcall-enrollment'))
  assert.is((await live(id)).length, 1)
  desk.world.clock.now += 1
  assert.is((await problemOf(await desk.claim(claim))).code, 'claim_replayed')
})

test('answers twenty of one claim that come at once alike', async () => {
  const { device, id } = await newDevice()
  const claim = device.claim(await desk.nonce())
  const answers = await Promise.all(Array.from({ length: 20 }, () => desk.claim(claim)))
  assert.equal([...new Set(answers.map(({ status }) => status))], [200])
  assert.is(new Set(await Promise.all(answers.map((answer) => answer.text()))).size, 1)
  assert.is((await live(id)).length, 1)
})

test("keeps the node's script once for all devices, beside what is each one's own", async () => {
  const boxes = await Promise.all(Array.from({ length: 5 }, () => newDevice()))
  const claims = await Promise.all(boxes.map(async ({ device }) => device.claim(await desk.nonce())))
  const first = await Promise.all(claims.map((claim) => desk.claim(claim).then((answer) => answer.text())))
  const rows = await desk.world
    .sql`select p.packed, e.document_sealed from enrollments e join shared_parts p on p.hash = e.document_shared
    where e.device_id = any(${boxes.map(({ id }) => id)})`
  assert.is(rows.length, 5)
  assert.is(new Set(rows.map(({ packed }) => packed.toString('hex'))).size, 1)
  for (const { packed, document_sealed } of rows) assert.ok(document_sealed.length < packed.length)
  const again = await Promise.all(claims.map((claim) => desk.claim(claim).then((answer) => answer.text())))
  assert.equal(again, first)
})

test('serves a retry with a nonce that is too old for anything else', async () => {
  const { device } = await newDevice()
  const claim = device.claim(await desk.nonce())
  desk.world.clock.now += 300
  assert.is((await desk.claim(claim)).status, 200)
  desk.world.clock.now += 100
  assert.is((await desk.claim(claim)).status, 200)
  desk.world.clock.now += 21
  assert.is((await problemOf(await desk.claim(claim))).code, 'nonce_expired')
})

test('refuses a nonce that was used, whoever uses it', async () => {
  const { device } = await newDevice()
  const nonce = await desk.nonce()
  assert.is((await desk.claim(device.claim(nonce))).status, 200)
  assert.is((await problemOf(await desk.claim(device.claim(nonce)))).code, 'claim_replayed')
  const other = await newDevice()
  assert.is((await problemOf(await desk.claim(other.device.claim(nonce)))).code, 'claim_replayed')
  assert.is((await live(other.id)).length, 0)
})

test('lets one of a hundred claims with one nonce in, and one live enrollment stand', async () => {
  const { device, id } = await newDevice()
  const nonce = await desk.nonce()
  const answers = await Promise.all(Array.from({ length: 100 }, () => desk.claim(device.claim(nonce))))
  assert.is(answers.filter((a) => a.status === 200).length, 1)
  assert.ok(answers.every((a) => a.status === 200 || a.status === 409))
  assert.is((await live(id)).length, 1)
})

test('replaces an enrollment that has not joined, and ends its secrets', async () => {
  const { device, id } = await newDevice()
  const first = await desk.enrol(device)
  const second = await desk.enrol(device)
  assert.is(second.status, 200)
  assert.is((await live(id)).length, 1)
  const [ended] = await desk.world.db
    .select()
    .from(enrollments)
    .where(eq(enrollments.id, first.headers.get('rollcall-enrollment') as string))
  assert.is(ended?.endReason, 'replaced')
  assert.is(ended?.documentSealed, null)
})

test('counts the re-enrol policy from joined: approve refuses until an admin lets one claim through', async () => {
  const { device, id } = await newDevice()
  await desk.enrol(device)
  await desk.world.db.update(enrollments).set({ joinedAt: new Date() }).where(isNull(enrollments.endedAt))
  assert.is((await problemOf(await desk.enrol(device))).code, 'reenroll_denied')
  await desk.world.db.update(devices).set({ reenrollGranted: true }).where(eq(devices.id, id))
  assert.is((await desk.enrol(device)).status, 200)
  await desk.world.db.update(enrollments).set({ joinedAt: new Date() }).where(isNull(enrollments.endedAt))
  assert.is((await problemOf(await desk.enrol(device))).code, 'reenroll_denied')
})

test('lets one server into a SQLite cluster, however many claim at once', async () => {
  const cluster = await addCluster(desk.world, { name: 'alone', caHash: null, state: 'virgin' })
  const boxes = Array.from({ length: 5 }, (_, i) => new FakeDevice(`LONE-${i}`))
  for (const box of boxes) await addDevice(desk.world, box, { profile, cluster })
  const answers = await Promise.all(boxes.map((box) => desk.enrol(box)))
  assert.is(answers.filter((a) => a.status === 200).length, 1)
  const refused = await Promise.all(answers.filter((a) => a.status !== 200).map(problemOf))
  assert.ok(refused.every(({ code }) => code === 'state_conflict'))
})

test('enrols many devices that arrive together, each with its own document', async () => {
  const boxes = await Promise.all(Array.from({ length: 40 }, () => newDevice()))
  const answers = await Promise.all(boxes.map(({ device }) => desk.enrol(device)))
  assert.ok(answers.every((a) => a.status === 200))
  const texts = await Promise.all(answers.map((a) => a.text()))
  texts.forEach((text, i) => {
    const hostname = boxes[i]?.device.serial.toLowerCase() as string
    assert.ok(text.includes(hostname), `${hostname} got another box's document`)
  })
  assert.is(new Set(answers.map((a) => a.headers.get('rollcall-enrollment'))).size, 40)
})
