import * as assert from 'uvu/assert'
import type { ManagedDatastore } from '../../../src/datastore/managed.ts'
import { ownerRole } from '../../../src/k3s/datastore-names.ts'
import { dropEndedLogins } from '../../../src/services/end-logins.ts'
import { noteLogin } from '../../../src/store/gate-logins.ts'
import { type AdminDesk, clusterInput, openAdminDesk, profileInput } from '../../fakes/admin-desk.ts'
import { addEnrollment } from '../../fakes/enrollment.ts'
import { suite } from '../../suite.ts'

const test = suite('/clusters on the managed datastore')
let desk: AdminDesk

test.before(async () => {
  desk = await openAdminDesk({ managed: true })
})
test.after(() => desk?.world.end())

const managed = (name: string) => clusterInput(name, { datastore: { kind: 'managed' } })
const schemaOf = async (id: string) =>
  (await desk.world.sql`select from pg_roles where rolname = ${ownerRole(id)}`).length === 1

test('422: nodes could not reach it; nothing is declared', async () => {
  const elsewhere = await openAdminDesk({ managed: { address: 'localhost:1' } })
  const answer = await elsewhere.call('POST', '/clusters', managed('nowhere'))
  assert.is(answer.status, 422)
  assert.equal(answer.body.errors, [{ path: 'datastore.kind', reason: 'localhost:1: nothing listens there' }])
  assert.is((await elsewhere.call('GET', '/clusters/nowhere')).status, 404)
  await elsewhere.call('POST', '/clusters', clusterInput('small'))
  assert.is((await elsewhere.call('PATCH', '/clusters/small', { datastore: { kind: 'managed' } })).status, 422)
  assert.is((await elsewhere.call('GET', '/clusters/small')).body.datastore.kind, 'sqlite')
  await elsewhere.world.end()
})

test('422: an endpoint or a certificate of one’s own', async () => {
  for (const key of ['endpoint', 'cafile', 'certfile', 'keyfile']) {
    const datastore = { kind: 'managed', [key]: 'postgres://u:p@h/d' }
    const answer = await desk.call('POST', '/clusters', clusterInput('own', { datastore }))
    assert.equal(
      answer.body.errors.map((one: { path: string }) => one.path),
      [`datastore.${key}`],
    )
  }
})

test('422: more servers than PostgreSQL has connections for', async () => {
  await desk.call('POST', '/clusters', managed('crowd'))
  await desk.call('POST', '/profiles', profileInput('crowd-server', { role: 'server' }))
  for (let n = 0; n < 10; n++) {
    const input = { serial: `CROWD-${n}`, profile: 'crowd-server', cluster: 'crowd' }
    assert.is((await desk.call('POST', '/devices', input)).status, 201)
  }
  const answer = await desk.call('POST', '/clusters', managed('one-too-many'))
  assert.match(
    answer.body.errors[0].reason,
    /11 server nodes of managed clusters .* may want 4\d\d: raise max_connections/,
  )
  for (let n = 0; n < 10; n++) await desk.call('DELETE', `/devices/CROWD-${n}`)
})

test('201: its schema is there, and again when a cluster changes over to it', async () => {
  const made = await desk.call('POST', '/clusters', managed('site-a'))
  assert.is(made.status, 201, made.text)
  assert.equal(made.body.datastore, { kind: 'managed' })
  // The tests' PostgreSQL is one of which nobody has made anything yet.
  assert.equal(
    made.body.datastore_findings.map((one: { severity: string; code: string }) => `${one.severity} ${one.code}`),
    ['warning loopback_address', 'warning advisory_locks'],
  )
  assert.is(await schemaOf(made.body.id), true)
  const other = await desk.call('POST', '/clusters', clusterInput('site-b'))
  assert.is(await schemaOf(other.body.id), false)
  assert.is((await desk.call('PATCH', '/clusters/site-b', { datastore: { kind: 'managed' } })).status, 200)
  assert.is(await schemaOf(other.body.id), true)
})

test('409 and 404: a purge of a cluster that is on the roll, or that never was', async () => {
  assert.is((await desk.call('POST', '/clusters/site-a/purge')).status, 409)
  assert.is((await desk.call('POST', '/clusters/nothing/purge')).status, 404)
  await desk.call('POST', '/clusters', clusterInput('small'))
  await desk.call('DELETE', '/clusters/small')
  assert.is((await desk.call('POST', '/clusters/small/purge')).status, 404)
  assert.is((await desk.call('POST', '/clusters/site-a/purge', undefined, { as: 'write' })).status, 403)
})

test('200: a deleted cluster keeps its schema until it is purged by name, with all that had that name', async () => {
  const ids: string[] = []
  for (let n = 0; n < 2; n++) {
    ids.push((await desk.call('POST', '/clusters', managed('twice'))).body.id)
    assert.is((await desk.call('DELETE', '/clusters/twice')).status, 204)
    desk.world.clock.now++
  }
  assert.equal(await Promise.all(ids.map(schemaOf)), [true, true])
  const purged = await desk.call('POST', '/clusters/twice/purge')
  assert.is(purged.status, 200)
  assert.is(purged.body.id, ids[1])
  assert.equal(await Promise.all(ids.map(schemaOf)), [false, false])
  assert.is((await desk.call('POST', '/clusters/twice/purge')).status, 200)
  const trail = await desk.world.sql`select detail ->> 'id' as id from audit where action = 'cluster.purge'`
  assert.equal(trail.map((row) => row.id).sort(), [...ids].sort())
})

test('200: logins that were left are purged with their cluster', async () => {
  const { id } = (await desk.call('POST', '/clusters', managed('left'))).body
  await desk.call('POST', '/profiles', profileInput('left-server', { role: 'server' }))
  await desk.call('POST', '/devices', { serial: 'LEFT-1', profile: 'left-server', cluster: 'left' })
  const enrollmentId = await addEnrollment(desk.world, 'LEFT-1', { role: 'server' })
  const [device] = await desk.world.sql`select id from devices where serial = 'LEFT-1'`
  await desk.world.sql`update clusters set state = 'up' where id = ${id}`
  await noteLogin(desk.world.sql, { clusterId: id, deviceId: device?.id, enrollmentId } as never, desk.world.now())
  await desk.world.managed?.makeLogin(id, enrollmentId, 'password')
  await desk.call('DELETE', '/devices/LEFT-1')
  assert.is((await desk.call('DELETE', '/clusters/left')).status, 204)
  assert.is((await desk.call('POST', '/clusters/left/purge')).status, 200)
  assert.is(await schemaOf(id), false)
  const logins = await desk.world.sql`select from pg_roles where rolname like ${`k3s_n_${enrollmentId.slice(4)}`}`
  assert.is(logins.length, 0)
  await dropEndedLogins(desk.world)
})

test('503: Postgres is away; the cluster is not declared', async () => {
  const check = () => Promise.reject(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }))
  const { managed: before } = desk.world
  desk.world.managed = { ...(before as ManagedDatastore), check }
  const answer = await desk.call('POST', '/clusters', managed('away'))
  desk.world.managed = before
  assert.is(answer.status, 503)
  assert.is(answer.body.code, 'datastore_unavailable')
})
