import * as assert from 'uvu/assert'
import { deviceVerbs } from '../../../src/services/command-device.ts'
import { type AdminDesk, openAdminDesk } from '../../fakes/admin-desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addEnrollment, type Live } from '../../fakes/enrollment.ts'
import { addCluster, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('device verbs')
let desk: AdminDesk
test.before(async () => {
  desk = await openAdminDesk()
  await addProfile(desk.world, { name: 'edge', role: 'agent' })
  await addCluster(desk.world, { name: 'site-a', datastore: { kind: 'postgres', endpoint: 'postgres://x' } })
  await addCluster(desk.world, { name: 'solo' })
})
test.after(() => desk.world.end())

let count = 0
async function add(more: object = {}, live?: Live): Promise<string> {
  const serial = `Vb/${++count}`
  const { status, text } = await desk.call('POST', '/devices', { serial, profile: 'edge', cluster: 'site-a', ...more })
  assert.is(status, 201, text)
  if (live) await addEnrollment(desk.world, serial, live)
  return serial
}
const path = (serial: string) => `/devices/${encodeURIComponent(serial)}`
const read = async (serial: string) => (await desk.call('GET', path(serial))).body
const say = (serial: string, verb: string, as: 'read' | 'write' | 'admin' = 'admin') =>
  desk.call('POST', `${path(serial)}/${verb}`, undefined, { as })
const cluster = async (name: string) => (await desk.call('GET', `/clusters/${name}`)).body
const setState = (serial: string, state: string) =>
  desk.world.sql`update devices set state = ${state} where serial = ${serial}`

test('404, 403: unknown device, unknown verb, scope too low', async () => {
  const serial = await add()
  assert.is((await say('nobody', 'revoke')).status, 404)
  assert.is((await say(serial, 'explode')).status, 404)
  assert.is((await say(serial, 'revoke', 'read')).status, 403)
  await say(serial, 'retire', 'write')
  assert.is((await say(serial, 'reinstate', 'write')).status, 403)
  assert.is((await say(serial, 'reinstate')).body.state, 'registered')
})

const fits: Record<string, readonly string[]> = {
  registered: ['revoke', 'retire', 'arm', 'disarm'],
  pending: ['approve', 'reject', 'revoke', 'retire', 'arm', 'disarm'],
  enrolled: ['revoke', 'retire', 'arm', 'disarm', 'reenroll'],
  ready: ['revoke', 'retire', 'arm', 'disarm', 'reenroll'],
  revoked: ['revoke', 'retire', 'reinstate'],
  retired: ['revoke', 'retire', 'reinstate'],
}

for (const [state, verbs] of Object.entries(fits)) {
  test(`${state}: takes ${verbs.join(', ')}; the rest is 409`, async () => {
    for (const verb of deviceVerbs) {
      const serial = await add()
      await setState(serial, state)
      const answer = await say(serial, verb)
      assert.equal([verb, answer.status], [verb, verbs.includes(verb) ? 200 : 409], answer.text)
      if (answer.status === 409) assert.is(answer.body.code, 'state_conflict')
    }
  })
}

test('approve lets a pending device claim, reject makes it a tombstone', async () => {
  const [one, two] = [await add(), await add()]
  await setState(one, 'pending')
  await setState(two, 'pending')
  assert.is((await say(one, 'approve')).body.state, 'registered')
  assert.is((await say(two, 'reject')).body.state, 'revoked')
})

test('arm opens a window of 24 h, disarm closes it, reenroll is granted once', async () => {
  const serial = await add({}, { state: 'ready', joined: true })
  assert.is((await say(serial, 'arm', 'write')).body.armed_until, desk.world.clock.now + 86_400)
  assert.is((await say(serial, 'disarm', 'write')).body.armed_until, null)
  const granted = await say(serial, 'reenroll', 'write')
  assert.is(granted.body.reenroll_granted, true)
  assert.is((await say(serial, 'reenroll')).headers.get('etag'), granted.headers.get('etag'))
})

test('revoke ends the enrollment and every secret of it; a redacted copy of the document stays', async () => {
  const identity = { kind: 'key', thumbprint: new FakeDevice('x').thumbprint }
  const document = '#cloud-config\nreport: https://rollcall.test/v1/report/hush\n'
  const serial = await add({ identity }, { document })
  await say(serial, 'arm')
  const { body } = await say(serial, 'revoke', 'write')
  assert.equal([body.state, body.assurance, body.armed_until, body.deadline], ['revoked', null, null, null])
  assert.equal([body.last_enrollment.live, body.last_enrollment.end_reason], [false, 'revoked'])
  assert.is(body.identity.thumbprint, identity.thumbprint)
  const [row] = await desk.world.sql`
    select document_sealed, join_sealed, document_redacted, join_expires_at <= to_timestamp(${desk.world.clock.now}) as over,
      report_expires_at <= to_timestamp(${desk.world.clock.now}) as silent from enrollments where id = ${body.last_enrollment.id}`
  assert.equal([row?.document_sealed, row?.join_sealed, row?.over, row?.silent], [null, null, true, true])
  assert.ok(row?.document_redacted)
  assert.not.match(row?.document_redacted, /hush/)
})

test('revoke works on a device whose document can no longer be opened', async () => {
  const serial = await add({}, {})
  await desk.world
    .sql`update enrollments set document_sealed = 'broken' where device_id = (select id from devices where serial = ${serial})`
  assert.is((await say(serial, 'revoke')).body.state, 'revoked')
})

test('DELETE retires: the tombstone is shown, its serial stays taken, its import line is refused', async () => {
  const serial = await add({}, {})
  const gone = await desk.call('DELETE', path(serial), undefined, { as: 'write' })
  assert.equal([gone.status, gone.body.state, gone.body.last_enrollment.end_reason], [200, 'retired', 'retired'])
  assert.equal(await read(serial), gone.body)
  const again = await desk.call('DELETE', path(serial))
  assert.equal([again.status, again.headers.get('etag')], [200, gone.headers.get('etag')])
  const post = await desk.call('POST', '/devices', { serial: serial.toUpperCase(), profile: 'edge' })
  assert.equal([post.status, post.body.code], [409, 'state_conflict'])
  const hostname = (await read(serial)).hostname
  const taken = await desk.call('POST', '/devices', { serial: 'heir', profile: 'edge', cluster: 'site-a', hostname })
  assert.is(taken.body.code, 'already_exists')
})

test('revoked stays revoked when it is retired', async () => {
  const serial = await add()
  await say(serial, 'revoke')
  assert.is((await say(serial, 'retire')).body.state, 'revoked')
  assert.is((await desk.call('DELETE', path(serial))).body.state, 'revoked')
})

test('a revoked server that had redeemed leaves its cluster compromised; a retired one does not', async () => {
  await say(await add({ role: 'server' }, { role: 'server', redeemed: true }), 'retire')
  await say(await add({ role: 'server' }, { role: 'server' }), 'revoke')
  assert.is((await cluster('site-a')).state, 'up')
  await say(await add({ role: 'server' }, { role: 'server', redeemed: true }), 'revoke')
  assert.is((await cluster('site-a')).state, 'compromised')
})

test('the one server of a SQLite cluster takes the cluster with it: it is virgin again, its agents must join anew', async () => {
  const agent = await add({ cluster: 'solo' }, { state: 'ready', joined: true })
  const server = await add({ cluster: 'solo', role: 'server' }, { role: 'server', redeemed: true, sole: true })
  const token = () => desk.world.sql`select server_token_sealed as sealed from clusters where name = 'solo'`
  const [before] = await token()
  await say(server, 'revoke')
  const { state, ca_hash } = await cluster('solo')
  assert.equal([state, ca_hash], ['virgin', null])
  const [after] = await token()
  assert.is.not(Buffer.compare(before?.sealed, after?.sealed), 0)
  const orphan = await read(agent)
  assert.is(orphan.must_rejoin, true)
  assert.match(
    (
      await (async () => {
        desk.world.clock.now += 1
        return read(agent)
      })()
    ).stuck_reason,
    /made anew/,
  )
})

test('If-Match holds for verbs too, and each is told once in timeline and audit', async () => {
  const serial = await add()
  const refused = await desk.call('POST', `${path(serial)}/revoke`, undefined, { headers: { 'if-match': '"x.1"' } })
  assert.is(refused.status, 412)
  await say(serial, 'revoke')
  await say(serial, 'revoke')
  const names = (await desk.call('GET', `${path(serial)}/timeline`)).body.items.map((e: { name: string }) => e.name)
  assert.equal(names, ['registered', 'revoked'])
  const target = encodeURIComponent(`device:${serial}`)
  const audit = (await desk.call('GET', `/audit?target=${target}`)).body.items
  assert.equal(
    audit.map((a: { action: string; actor: string }) => [a.action, a.actor]),
    [
      ['device.revoke', 'token:admin'],
      ['device.create', 'token:admin'],
    ],
  )
})
