import * as assert from 'uvu/assert'
import { makeCa } from '../../../src/tls/certificates.ts'
import { type AdminDesk, clusterInput, openAdminDesk } from '../../fakes/admin-desk.ts'
import { addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('/clusters with access')
let desk: AdminDesk
let ca: string
test.before(async () => {
  desk = await openAdminDesk()
  ca = (await makeCa(Math.floor(Date.now() / 1000))).certificate
  await addProfile(desk.world, { name: 'server', role: 'server' })
  await addProfile(desk.world, { name: 'agent', role: 'agent' })
})
test.after(() => desk.world.end())

const token = 'eyJhbGciOiJSUzI1NiJ9.s3cret.signature'
const access = (change: object = {}) => ({ endpoint: 'https://10.0.0.1:6443', ca, token, ...change })
const input = (name: string, change: object = {}) =>
  clusterInput(name, {
    datastore: { kind: 'embedded-etcd' },
    api_endpoint: 'https://k3s.test:6443',
    ca_hash: 'c0'.repeat(32),
    access: access(),
    ...change,
  })
const paths = (answer: { status: number; body: { errors: { path: string }[] } }) => [
  answer.status,
  ...answer.body.errors.map(({ path }) => path),
]

test('422: without what its agents need, or with an access that cannot work', async () => {
  const post = async (change: object) => paths(await desk.call('POST', '/clusters', input('x', change)))
  assert.equal(await post({ ca_hash: undefined }), [422, 'ca_hash'])
  assert.equal((await post({ api_endpoint: undefined })).includes('api_endpoint'), true)
  assert.equal(await post({ access: access({ endpoint: 'http://10.0.0.1' }) }), [422, 'access.endpoint'])
  assert.equal(await post({ access: access({ endpoint: 'https://a:b@10.0.0.1/?x' }) }), [422, 'access.endpoint'])
  assert.equal(await post({ access: access({ token: 'a\r\nb' }) }), [422, 'access.token'])
  for (const bad of ['none', `${ca}x`, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'])
    assert.equal(await post({ access: access({ ca: bad }) }), [422, 'access.ca'])
})

test('422: a server on it, registered, moved there, or made one', async () => {
  assert.is((await desk.call('POST', '/clusters', input('agents-only'))).status, 201)
  const device = { serial: 'A-1', cluster: 'agents-only' }
  assert.equal(paths(await desk.call('POST', '/devices', { ...device, profile: 'server' })), [422, 'role'])
  const line = JSON.stringify({ ...device, profile: 'server' })
  const imported = await desk.call('POST', '/devices/import', line, {
    headers: { 'content-type': 'application/x-ndjson' },
  })
  assert.is(imported.status, 422)
  assert.match(imported.text, 'adds agents alone')
  assert.is((await desk.call('POST', '/devices', { ...device, profile: 'agent' })).status, 201)
  assert.equal(paths(await desk.call('PATCH', '/devices/A-1', { role: 'server' })), [422, 'role'])
  assert.equal(paths(await desk.call('PATCH', '/devices/A-1', { profile: 'server' })), [422, 'role'])
})

test('409: access where servers of the roll are; a reset', async () => {
  const { access: _, ...ours } = input('ours') as Record<string, unknown>
  assert.is((await desk.call('POST', '/clusters', ours)).status, 201)
  assert.is((await desk.call('POST', '/devices', { serial: 'S-1', profile: 'server', cluster: 'ours' })).status, 201)
  assert.is((await desk.call('PATCH', '/clusters/ours', { access: access() })).status, 409)
  assert.is((await desk.call('POST', '/clusters/agents-only/reset', { force: true })).status, 409)
})

test('201, 200: it is up, and what reaches it is shown nowhere and gone with it', async () => {
  const made = await desk.call('POST', '/clusters', input('secretive'))
  assert.equal([made.status, made.body.state, made.body.access], [201, 'up', true])
  const changed = await desk.call('PATCH', '/clusters/secretive', { access: { token: 's3cret-2' } })
  assert.is(changed.status, 200)
  const audit = await desk.call('GET', '/audit')
  const list = await desk.call('GET', '/clusters')
  for (const { text } of [made, changed, audit, list]) assert.not.match(text, /s3cret|10\.0\.0\.1|BEGIN CERT/)
  const off = await desk.call('PATCH', '/clusters/secretive', { access: null })
  assert.equal([off.status, off.body.access], [200, false])
  await desk.call('PATCH', '/clusters/secretive', { access: access() })
  assert.is((await desk.call('DELETE', '/clusters/secretive')).status, 204)
  const [row] = await desk.world.sql`select access_sealed from clusters where name = 'secretive'`
  assert.is(row?.access_sealed, null)
})
