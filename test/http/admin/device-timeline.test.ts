import * as assert from 'uvu/assert'
import { type AdminDesk, openAdminDesk } from '../../fakes/admin-desk.ts'
import { addEnrollment } from '../../fakes/enrollment.ts'
import { addCluster, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('a device’s timeline and document')
let desk: AdminDesk
test.before(async () => {
  desk = await openAdminDesk()
  await addProfile(desk.world, { name: 'edge', role: 'agent' })
  await addCluster(desk.world, { name: 'site-a' })
  await desk.call('POST', '/devices', { serial: 'T/1', profile: 'edge', cluster: 'site-a', labels: { site: 'north' } })
})
test.after(() => desk.world.end())

const get = (path: string, as: 'read' | 'nobody' = 'read') => desk.call('GET', path, undefined, { as })

test('404, 401, 422: unknown device, no token, a cursor of another list', async () => {
  for (const what of ['timeline', 'document']) {
    assert.is((await get(`/devices/nobody/${what}`)).status, 404)
    assert.is((await get(`/devices/T%2F1/${what}`, 'nobody')).status, 401)
  }
  assert.is((await get('/devices/T%2F1/timeline?cursor=ZGV2Xw')).status, 422)
})

test('404: no document before the first enrollment', async () => {
  assert.is((await get('/devices/T%2F1/document')).status, 404)
})

test('200: events oldest first, a page at a time', async () => {
  for (let i = 0; i < 4; i++) await desk.call('PATCH', '/devices/T%2F1', { note: `n${i}` })
  const all = (await get('/devices/T%2F1/timeline')).body.items
  assert.equal(
    all.map((e: { name: string }) => e.name),
    ['registered', 'changed', 'changed', 'changed', 'changed'],
  )
  assert.equal(
    [all[0].source, all[0].result, all[0].at, all[0].detail.by],
    ['admin', 'ok', desk.world.clock.now, 'token:admin'],
  )
  const first = (await get('/devices/T%2F1/timeline?limit=2')).body
  const second = (await get(`/devices/T%2F1/timeline?limit=2&cursor=${first.next_cursor}`)).body
  const third = (await get(`/devices/T%2F1/timeline?limit=2&cursor=${second.next_cursor}`)).body
  assert.equal([...first.items, ...second.items, ...third.items], all)
  assert.is(third.next_cursor, null)
})

test('200: the document without its secrets, before it was applied and after, and why it says what it says', async () => {
  const document = '#cloud-config\nurl: https://rollcall.test/v1/report/hush\n'
  const id = await addEnrollment(desk.world, 'T/1', { document })
  const sealed = await get('/devices/T%2F1/document')
  assert.is(sealed.status, 200, sealed.text)
  assert.is(sealed.body.enrollment, id)
  assert.match(sealed.body.document, /^#cloud-config/)
  assert.not.match(sealed.text, /hush/)
  const { why } = sealed.body
  assert.equal(
    [why.profile, why.profile_revision, why.profile_spec.template, why.cluster, why.role, why.hostname, why.assurance],
    ['edge', 1, 'builtin:debian', 'site-a', 'agent', 't-1', 'key'],
  )
  assert.equal(why.device, { labels: { site: 'north' }, vars: {}, note: 'n3' })

  await desk.world.sql`update enrollments set document_sealed = null, document_redacted = 'kept' where id = ${id}`
  assert.is((await get('/devices/T%2F1/document')).body.document, 'kept')
})
