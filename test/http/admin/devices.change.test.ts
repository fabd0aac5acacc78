import * as assert from 'uvu/assert'
import { type AdminDesk, openAdminDesk } from '../../fakes/admin-desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addEnrollment, type Live } from '../../fakes/enrollment.ts'
import { addCluster, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('PATCH /devices')
let desk: AdminDesk
test.before(async () => {
  desk = await openAdminDesk()
  await addProfile(desk.world, { name: 'edge', role: 'agent' })
  await addProfile(desk.world, { name: 'weak', role: 'agent', min_assurance: 'network' })
  await addCluster(desk.world, { name: 'site-a' })
  await addCluster(desk.world, { name: 'site-b' })
})
test.after(() => desk.world.end())

let count = 0
async function add(more: object = {}): Promise<string> {
  const serial = `Ch ${++count}`
  const { status, text } = await desk.call('POST', '/devices', { serial, profile: 'edge', cluster: 'site-a', ...more })
  assert.is(status, 201, text)
  return serial
}
const path = (serial: string) => `/devices/${encodeURIComponent(serial)}`
const read = async (serial: string) => (await desk.call('GET', path(serial))).body
const patch = (serial: string, body: object, as: 'write' | 'admin' = 'write', headers = {}) =>
  desk.call('PATCH', path(serial), body, { as, headers })
const live = (serial: string, change: Live = {}) => addEnrollment(desk.world, serial, change)

test('404, 412, 422: nothing there, not as it was seen, not valid', async () => {
  const serial = await add()
  assert.is((await patch('nobody', { note: 'x' })).status, 404)
  assert.is((await patch(serial, { note: 'x' }, 'write', { 'if-match': '"old.1"' })).body.code, 'precondition_failed')
  assert.is((await patch(serial, { profile: 'none' })).status, 422)
  assert.is((await patch(serial, { serial: 'other' })).status, 422)
  assert.is((await patch(serial, { vars: { a: { __proto__x: '\u0000' } } })).status, 422)
  assert.is((await read(serial)).note, '')
})

test('200: merges what is given; the ETag moves, and moves not when nothing changed', async () => {
  const serial = await add({ labels: { a: '1', b: '2' }, vars: { deep: { x: 1, y: 2 } } })
  const before = await desk.call('GET', path(serial))
  const etag = before.headers.get('etag') as string
  const changed = await patch(
    serial,
    { labels: { a: null, c: '3' }, vars: { deep: { x: null } }, note: 'n' },
    'write',
    { 'if-match': etag },
  )
  assert.is(changed.status, 200, changed.text)
  assert.equal(
    [changed.body.labels, changed.body.vars, changed.body.note],
    [{ b: '2', c: '3' }, { deep: { y: 2 } }, 'n'],
  )
  assert.is.not(changed.headers.get('etag'), etag)
  const same = await patch(serial, { note: 'n', labels: { b: '2' }, cluster: 'site-a', profile: 'edge' })
  assert.is(same.headers.get('etag'), changed.headers.get('etag'))
  const { items } = (await desk.call('GET', `${path(serial)}/timeline`)).body
  assert.equal(items.at(-1).detail.changed.sort(), ['labels', 'note', 'vars'])
  assert.is(items.length, 2)
})

test('403: lowering an assurance needs scope admin, raising it does not', async () => {
  const serial = await add()
  assert.is((await patch(serial, { min_assurance: 'hardware' })).status, 200)
  assert.is((await patch(serial, { min_assurance: 'key' })).status, 403)
  assert.is((await patch(serial, { min_assurance: null })).status, 403)
  assert.is((await patch(serial, { min_assurance: 'key' }, 'admin')).status, 200)
  assert.is((await patch(serial, { min_assurance: 'bearer' })).status, 403)
  assert.is((await patch(serial, { min_assurance: null, profile: 'weak' })).status, 403)
  assert.is((await read(serial)).min_assurance, 'key')
})

test('422: a server that must not prove its key', async () => {
  const serial = await add()
  const answer = await patch(serial, { role: 'server', min_assurance: 'bearer' }, 'admin')
  assert.equal([answer.status, answer.body.errors[0].path], [422, 'min_assurance'])
})

test('a derived hostname follows the cluster, and a given one is given back with null', async () => {
  const serial = await add()
  const name = (await read(serial)).hostname
  await add({ cluster: 'site-b', hostname: name })
  assert.match((await patch(serial, { cluster: 'site-b' })).body.hostname, new RegExp(`^${name}-[0-9a-f]{4}$`))
  assert.is((await patch(serial, { hostname: name })).body.code, 'already_exists')
  assert.is((await patch(serial, { hostname: 'mine' })).body.hostname, 'mine')
  assert.is((await patch(serial, { cluster: null })).body.hostname, 'mine')
  assert.is((await patch(serial, { hostname: null })).body.hostname, name)
  assert.is((await patch(serial, { cluster: 'site-a' })).body.hostname, name)
})

test('409: the hostname is fixed by the first enrollment, the cluster and role by a live one', async () => {
  const serial = await add()
  await live(serial)
  const { hostname } = await read(serial)
  for (const change of [{ hostname: 'other' }, { cluster: 'site-b' }, { cluster: null }, { role: 'server' }]) {
    assert.is((await patch(serial, change)).body.code, 'state_conflict', JSON.stringify(change))
  }
  assert.is((await patch(serial, { hostname })).status, 200)
  assert.is((await patch(serial, { role: 'agent' })).status, 200)
  await desk.call('POST', `${path(serial)}/retire`)
  assert.is((await patch(serial, { note: 'x' })).body.code, 'state_conflict')
  await desk.call('POST', `${path(serial)}/reinstate`)
  assert.is((await patch(serial, { hostname: 'other' })).body.code, 'state_conflict')
  const moved = await patch(serial, { cluster: 'site-b' })
  assert.equal([moved.body.cluster, moved.body.hostname], ['site-b', hostname])
})

test('a new key ends an enrollment that has not joined, with all its secrets', async () => {
  const serial = await add({ identity: { kind: 'key', jwk: new FakeDevice('x').jwk } })
  const id = await live(serial)
  const key = new FakeDevice('y')
  const changed = await patch(serial, { identity: { kind: 'key', thumbprint: key.thumbprint } })
  assert.is(changed.status, 200, changed.text)
  assert.equal(
    [changed.body.state, changed.body.assurance, changed.body.identity.thumbprint],
    ['registered', null, key.thumbprint],
  )
  assert.equal([changed.body.last_enrollment.id, changed.body.last_enrollment.end_reason], [id, 'rekeyed'])
  const [row] = await desk.world.sql`select document_sealed, join_sealed, ended_at from enrollments where id = ${id}`
  assert.equal([row?.document_sealed, row?.join_sealed], [null, null])

  const etag = changed.headers.get('etag')
  const same = await patch(serial, { identity: { kind: 'key', thumbprint: key.thumbprint } })
  assert.is(same.headers.get('etag'), etag)
  const whole = await patch(serial, { identity: { kind: 'key', jwk: key.jwk } })
  assert.equal(whole.body.identity.jwk, key.jwk)
  assert.is((await patch(serial, { identity: null })).body.identity, null)
})

test('a new key leaves a device alone that has joined: its re-enrol policy decides', async () => {
  const serial = await add()
  const id = await live(serial, { state: 'ready', joined: true })
  const changed = await patch(serial, { identity: { kind: 'key', thumbprint: new FakeDevice('z').thumbprint } })
  assert.equal(
    [changed.body.state, changed.body.last_enrollment.live, changed.body.last_enrollment.id],
    ['ready', true, id],
  )
})

test('409: a key that is pinned for another device', async () => {
  const { thumbprint } = new FakeDevice('x')
  await add({ identity: { kind: 'key', thumbprint } })
  const answer = await patch(await add(), { identity: { kind: 'key', thumbprint } })
  assert.equal([answer.status, answer.body.code], [409, 'already_exists'])
})
