import * as assert from 'uvu/assert'
import { ProfileSpec } from '../../../src/documents/profile.ts'
import { templateThread } from '../../../src/services/template-thread.ts'
import { type AdminDesk, openAdminDesk, profileInput } from '../../fakes/admin-desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addDevice } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('/profiles')
let desk: AdminDesk
test.before(async () => {
  desk = await openAdminDesk()
})
test.after(() => desk.world.end())

const paths = (answer: { body: { errors: { path: string }[] } }) => answer.body.errors.map((error) => error.path)

test('422: everything wrong is said at once, each by its path', async () => {
  const answer = await desk.call('POST', '/profiles', {
    name: 'x',
    document: 'kickstart',
    role: 'king',
    template: 'builtin:windows',
    vars: [],
    join_ttl: 1,
    reenrol: 'always',
  })
  assert.is(answer.status, 422)
  assert.equal(paths(answer).sort(), ['document', 'join_ttl', 'reenrol', 'role', 'template', 'vars'])
})

test('422: packages for a box that has nothing to install them with, on making and on changing a profile', async () => {
  const ignition = (name: string, packages: string[]) =>
    profileInput(name, { document: 'ignition', template: 'builtin:flatcar', packages })
  const reason = /cannot be installed on a system that Ignition sets up/
  const made = await desk.call('POST', '/profiles', ignition('packed', ['open-iscsi']))
  assert.is(made.status, 422)
  assert.equal(paths(made), ['packages'])
  assert.match(made.body.errors[0].reason, reason)
  assert.is((await desk.call('POST', '/profiles', ignition('packed', []))).status, 201)
  const changed = await desk.call('PATCH', '/profiles/packed', { packages: ['open-iscsi'] })
  assert.is(changed.status, 422)
  assert.match(changed.body.errors[0].reason, reason)
})

test('403: scope admin makes profiles', async () => {
  assert.is((await desk.call('POST', '/profiles', profileInput('x'), { as: 'write' })).status, 403)
  assert.is((await desk.call('PATCH', '/profiles/x', {}, { as: 'write' })).status, 403)
  assert.is((await desk.call('DELETE', '/profiles/x', undefined, { as: 'write' })).status, 403)
})

test('201: revision 1, with the defaults said', async () => {
  const { status, body, headers } = await desk.call('POST', '/profiles', profileInput('fresh'))
  assert.is(status, 201)
  assert.is(headers.get('location'), '/api/v1/profiles/fresh')
  assert.is(body.revision, 1)
  assert.is(body.min_assurance, 'key')
  assert.is(body.reenroll, 'approve')
  assert.is(body.join_ttl, 3_600)
  assert.equal(body.packages, [])
})

test('409: the name of a live profile', async () => {
  assert.is((await desk.call('POST', '/profiles', profileInput('fresh'))).body.code, 'already_exists')
})

test('201: a weak server is the cluster’s to refuse, so here it is a warning', async () => {
  const input = profileInput('weak', { role: 'server', min_assurance: 'network' })
  const { status, body } = await desk.call('POST', '/profiles', input)
  assert.is(status, 201)
  assert.equal(
    body.warnings.map((warning: { code: string }) => warning.code),
    ['weak_server'],
  )
})

test('PATCH: each change is a new revision, the old ones stay what they were', async () => {
  await desk.call('POST', '/profiles', profileInput('grows', { vars: { a: 1, b: { c: 2, d: 3 } } }))
  const second = await desk.call('PATCH', '/profiles/grows', {
    vars: { b: { c: null }, e: [1, null] },
    reenroll: 'never',
  })
  assert.is(second.status, 200)
  assert.is(second.body.revision, 2)
  assert.equal(second.body.vars, { a: 1, b: { d: 3 }, e: [1, null] })
  const third = await desk.call('PATCH', '/profiles/grows', { reenroll: null })
  assert.is(third.body.reenroll, 'approve')
  const { body } = await desk.call('GET', '/profiles/grows/revisions')
  assert.equal(
    body.items.map((item: { revision: number; created_by: string }) => [item.revision, item.created_by]),
    [
      [3, 'token:admin'],
      [2, 'token:admin'],
      [1, 'token:admin'],
    ],
  )
  assert.equal(body.items[2].spec.vars, { a: 1, b: { c: 2, d: 3 } })
  const page = await desk.call('GET', '/profiles/grows/revisions?limit=2')
  const rest = await desk.call('GET', `/profiles/grows/revisions?limit=2&cursor=${page.body.next_cursor}`)
  assert.is(rest.body.items[0].revision, 1)
  assert.is(rest.body.next_cursor, null)
})

test('PATCH: the same content makes no revision', async () => {
  const made = await desk.call('POST', '/profiles', profileInput('still', { vars: { z: 1, a: { y: 2, b: 3 } } }))
  const same = await desk.call('PATCH', '/profiles/still', { vars: { a: { b: 3 } }, min_assurance: 'key' })
  assert.is(same.body.revision, 1)
  assert.is(same.headers.get('etag'), made.headers.get('etag'))
  assert.is((await desk.call('GET', '/audit?target=profile:still')).body.items.length, 1)
})

test('422: a patch that ends in nonsense, a new name, no such member', async () => {
  assert.equal(paths(await desk.call('PATCH', '/profiles/still', { role: null })), ['role'])
  assert.equal(paths(await desk.call('PATCH', '/profiles/still', { name: 'moved' })), ['name'])
  assert.equal(paths(await desk.call('PATCH', '/profiles/still', { revision: 7 })), ['revision'])
})

test('ten changes at once are ten revisions, none lost', async () => {
  await desk.call('POST', '/profiles', profileInput('busy'))
  const changes = Array.from({ length: 10 }, (_, i) => desk.call('PATCH', '/profiles/busy', { vars: { [`v${i}`]: i } }))
  for (const answer of await Promise.all(changes)) assert.is(answer.status, 200)
  const { body } = await desk.call('GET', '/profiles/busy')
  assert.is(body.revision, 11)
  assert.is(Object.keys(body.vars).length, 10)
})

test('PATCH: nobody waits for a profile whose template is being tried', async () => {
  await desk.call('POST', '/profiles', profileInput('slow'))
  const large = { source: `#cloud-config\nruncmd:\n${'- [a, b, c, d]\n'.repeat(4_000)}` }
  const spec = ProfileSpec.parse({ ...profileInput('large'), template: large })
  const before = Promise.all(Array.from({ length: 12 }, () => templateThread.run({ kind: 'lint', spec })))
  let [tried, looks] = [false, 0]
  before.finally(() => (tried = true))
  const change = desk.call('PATCH', '/profiles/slow', { vars: { a: 1 } })
  while (!tried) {
    try {
      await desk.world.sql`select from profiles where name = 'slow' for update nowait`
      looks++
    } catch (error) {
      // Then its turn has come, and it is changed.
      if (!tried) throw error
    }
  }
  assert.ok(looks > 0)
  assert.is((await change).status, 200)
})

test('412: If-Match of an older revision', async () => {
  const etag = (await desk.call('GET', '/profiles/grows')).headers.get('etag') as string
  const headers = { 'if-match': etag }
  assert.is((await desk.call('PATCH', '/profiles/grows', { vars: { x: 1 } }, { headers })).status, 200)
  assert.is((await desk.call('PATCH', '/profiles/grows', { vars: { x: 2 } }, { headers })).status, 412)
  assert.is((await desk.call('DELETE', '/profiles/grows', undefined, { headers })).status, 412)
})

test('409: a profile that a device uses stays; a tombstone does not hold it', async () => {
  const made = await desk.call('POST', '/profiles', profileInput('used'))
  const device = await addDevice(desk.world, new FakeDevice('SN-1'), { profile: made.body.id })
  assert.is((await desk.call('DELETE', '/profiles/used')).body.code, 'state_conflict')
  await desk.world.sql`update devices set state = 'revoked' where id = ${device}`
  assert.is((await desk.call('DELETE', '/profiles/used')).status, 204)
  assert.is((await desk.call('GET', '/profiles/used')).status, 404)
  assert.is((await desk.call('POST', '/profiles', profileInput('used'))).status, 201)
})
