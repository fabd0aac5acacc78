import { asc, eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { devices, enrollments, events } from '../../../src/store/schema.ts'
import { type Desk, openDesk, problemOf } from '../../fakes/desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('POST /v1/report/{token}')

let desk: Desk
let profile: string
let count = 0

test.before(async () => {
  desk = await openDesk()
  profile = await addProfile(desk.world, { role: 'agent', name: 'agents' })
})
test.after(() => desk.world.end())

async function enrolled() {
  count++
  const device = new FakeDevice(`AGT-${count}`)
  const cluster = await addCluster(desk.world, { name: `report-${count}` })
  const id = await addDevice(desk.world, device, { profile, cluster })
  const document = await (await desk.enrol(device)).text()
  return { device, id, token: /\/v1\/report\/([A-Za-z0-9_-]+)/.exec(document)?.[1] as string }
}

const stateOf = async (id: string) => {
  const [row] = await desk.world.db.select().from(devices).where(eq(devices.id, id))
  return row?.failure ? `${row.state}: ${row.failure}` : row?.state
}
const enrollmentOf = async (id: string) => {
  const [row] = await desk.world.db.select().from(enrollments).where(eq(enrollments.deviceId, id))
  return row as NonNullable<typeof row>
}
const step = (name: string, result: string, detail?: string) => ({ step: name, result, detail })

test('is 404 for an unknown or ended token, whatever the body, and 405 for another method either way', async () => {
  const { id, token } = await enrolled()
  await desk.world.db.update(enrollments).set({ endedAt: new Date() }).where(eq(enrollments.deviceId, id))
  for (const path of [token, 'x'.repeat(32), 'short', 'no%2Fslash']) {
    const post = (body: string) => desk.app.request(`/v1/report/${path}`, { method: 'POST', body })
    assert.is((await post('{"step":"k3s.ready","result":"ok"}')).status, 404, path)
    assert.is((await post('nonsense')).status, 404, path)
    assert.is((await desk.app.request(`/v1/report/${path}`)).status, 405, path)
  }
  assert.is(await stateOf(id), 'enrolled')
})

test('never repeats the token in a problem', async () => {
  const token = 'T'.repeat(32)
  const answer = await desk.report(token, 'nonsense')
  assert.not.match(await answer.text(), new RegExp(token))
})

test('ends 30 days after the enrollment', async () => {
  const { token } = await enrolled()
  desk.world.clock.now += 30 * 86_400 - 1
  assert.is((await desk.report(token, step('clock', 'ok'))).status, 204)
  desk.world.clock.now += 1
  assert.is((await desk.report(token, step('clock', 'ok'))).status, 404)
})

test('refuses what is no report, and what is larger than 64 KiB', async () => {
  const { token } = await enrolled()
  assert.is((await problemOf(await desk.report(token, 'nonsense'))).code, 'request_invalid')
  const large = await desk.report(token, step('clock', 'ok', 'x'.repeat(65_536)))
  assert.is(large.status, 413)
  assert.is((await problemOf(large)).code, 'body_too_large')
})

test('moves the device from enrolled to ready by its steps, and wipes the document once it is applied', async () => {
  const { id, token } = await enrolled()
  const states = []
  for (const [name, result] of [
    ['clock', 'ok'],
    ['document.applied', 'start'],
    ['document.applied', 'ok'],
    ['k3s.install', 'start'],
    ['k3s.install', 'fail'],
    ['k3s.install', 'start'],
    ['k3s.join', 'ok'],
    ['k3s.ready', 'ok'],
  ] as const) {
    assert.is((await desk.report(token, step(name, result, result === 'fail' ? 'no disk' : undefined))).status, 204)
    const { documentSealed, documentRedacted } = await enrollmentOf(id)
    const kept = `${documentSealed ? ', kept' : ''}${documentRedacted ? ', redacted' : ''}`
    states.push(`${name} ${result} -> ${await stateOf(id)}${kept}`)
  }
  assert.equal(states, [
    'clock ok -> enrolled, kept',
    'document.applied start -> enrolled, kept',
    'document.applied ok -> installing, redacted',
    'k3s.install start -> installing, redacted',
    'k3s.install fail -> failed: k3s.install: no disk, redacted',
    'k3s.install start -> installing, redacted',
    'k3s.join ok -> installing, redacted',
    'k3s.ready ok -> ready, redacted',
  ])
  const { joinedAt, observed } = await enrollmentOf(id)
  assert.ok(joinedAt)
  assert.is(observed, false)
})

test('takes webhook events and phone_home into the timeline only, in order', async () => {
  const { id, token } = await enrolled()
  await desk.report(token, {
    name: 'init-network',
    event_type: 'start',
    description: 'x',
    origin: 'cloudinit',
    timestamp: 1,
  })
  await desk.report(token, {
    name: 'init-network',
    event_type: 'finish',
    description: 'x',
    origin: 'cloudinit',
    result: 'SUCCESS',
  })
  await desk.report(token, 'instance_id=i-1&hostname=agt')
  const timeline = await desk.world.db.select().from(events).where(eq(events.deviceId, id)).orderBy(asc(events.id))
  assert.equal(
    timeline.map((e) => `${e.source} ${e.name} ${e.result}`),
    [
      'server enrolled ok',
      'cloud-init init-network start',
      'cloud-init init-network SUCCESS',
      'phone-home phone_home ok',
    ],
  )
  assert.is(await stateOf(id), 'enrolled')
})

test('drops what is over the cap with 204, but still hears that the box is ready', async () => {
  const { id, token } = await enrolled()
  await desk.world.db.update(enrollments).set({ reportCount: 2_000 }).where(eq(enrollments.deviceId, id))
  assert.is((await desk.report(token, step('k3s.ready', 'ok'))).status, 204)
  const kept = await desk.world.db.select().from(events).where(eq(events.deviceId, id))
  assert.is(kept.length, 1)
  assert.is(await stateOf(id), 'ready')
})

test('takes a storm of reports from many boxes at once, each to its own timeline', async () => {
  const boxes: Awaited<ReturnType<typeof enrolled>>[] = []
  for (let i = 0; i < 8; i++) boxes.push(await enrolled())
  const answers = await Promise.all(
    boxes.flatMap(({ token }) =>
      Array.from({ length: 20 }, (_, i) => desk.report(token, step('k3s.download', 'start', `${i}`))),
    ),
  )
  assert.ok(answers.every((a) => a.status === 204))
  for (const { id } of boxes) {
    const rows = await desk.world.db.select().from(events).where(eq(events.deviceId, id))
    assert.is(rows.length, 21)
  }
})
