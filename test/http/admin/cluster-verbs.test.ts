import { and, eq, isNull } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { place } from '../../../src/services/cluster-view.ts'
import { nodes, tasks } from '../../../src/store/cluster-schema.ts'
import { clusters } from '../../../src/store/declared-schema.ts'
import { devices, enrollments } from '../../../src/store/schema.ts'
import { audit } from '../../../src/store/server-schema.ts'
import { type AdminDesk, openAdminDesk } from '../../fakes/admin-desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addEnrollment, type Live } from '../../fakes/enrollment.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('POST /clusters/{name}/release-initializer, rotated, reset')

let desk: AdminDesk
let profile: string
let count = 0
const datastore = { kind: 'postgres', endpoint: 'postgres://k3s:pw@db.test:5432/k3s' } as const
const [one, two] = ['11'.repeat(32), '22'.repeat(32)] as const

test.before(async () => {
  desk = await openAdminDesk()
  profile = await addProfile(desk.world)
})
test.after(() => desk.world.end())

async function cluster(change: Parameters<typeof addCluster>[1] = {}) {
  const name = `verb-${++count}`
  const id = await addCluster(desk.world, { name, datastore, ...change })
  return { id, name }
}
async function member(clusterId: string, live: Live) {
  const device = new FakeDevice(`VERB-${++count}`)
  const id = await addDevice(desk.world, device, { profile, cluster: clusterId })
  return { id, serial: device.serial, enrollment: await addEnrollment(desk.world, device.serial, live) }
}
const call = (name: string, verb: string, body?: unknown, options = {}) =>
  desk.call('POST', `/clusters/${name}/${verb}`, body, options)
const rowOf = async (id: string) => (await desk.world.db.select().from(clusters).where(eq(clusters.id, id)))[0]
const deviceOf = async (id: string) => (await desk.world.db.select().from(devices).where(eq(devices.id, id)))[0]
const tokenOf = async (id: string) =>
  desk.world.vault.open(place.serverToken(id), (await rowOf(id))?.serverTokenSealed as Uint8Array).toString()
const auditOf = async (name: string, verb: string) => {
  const where = and(eq(audit.target, `cluster:${name}`), eq(audit.action, `cluster.${verb}`))
  return (await desk.world.db.select().from(audit).where(where)).map((row) => row.detail)
}
const lost = (deviceId: string) => ({
  state: 'stuck',
  stuckReason: 'the first server was not heard of',
  caHash: null,
  initializerDeviceId: deviceId,
  initializerUntil: new Date(),
})

test('401, 403, 404, 412, 415: who may not, what is not there, what changed meanwhile', async () => {
  const { name } = await cluster()
  for (const verb of ['release-initializer', 'rotated', 'reset']) {
    assert.is((await call(name, verb, undefined, { as: 'nobody' })).status, 401)
    assert.is((await call(name, verb, undefined, { as: 'write' })).status, 403)
    assert.is((await call('nowhere', verb)).status, 404)
    assert.is((await call(name, verb, undefined, { headers: { 'if-match': '"other"' } })).status, 412)
    assert.is((await desk.call('GET', `/clusters/${name}/${verb}`)).status, 405)
  }
  assert.is((await call(name, 'reset', 'force', { headers: { 'content-type': 'text/plain' } })).status, 415)
})

test('422: a token or hash that is none, a member that is none', async () => {
  const { name } = await cluster({ state: 'compromised' })
  for (const body of [{ server_token: 'short' }, { ca_hash: one.toUpperCase().replaceAll('1', 'A') }, { token: one }]) {
    const answer = await call(name, 'rotated', body)
    assert.is(answer.status, 422)
    assert.not.match(answer.text, 'short')
  }
  assert.is((await call(name, 'reset', { force: 'yes' })).status, 422)
})

test('release-initializer 409: a cluster that came up, is compromised, or is stuck over its CA hash', async () => {
  const disputed = `two CA hashes: ${one} by an admin, and now ${two} by its server dev_1`
  for (const change of [
    { state: 'up' },
    { state: 'compromised' },
    { state: 'stuck', stuckReason: disputed, caHash: one },
  ]) {
    const { name, id } = await cluster(change)
    assert.is((await call(name, 'release-initializer')).body.code, 'state_conflict')
    assert.is((await rowOf(id))?.state, change.state)
  }
})

test('a cluster whose first server fails says why', async () => {
  const { name, id } = await cluster({ state: 'initializing', caHash: null })
  const first = await member(id, { role: 'server', redeemed: true })
  const turn = { initializerDeviceId: first.id, initializerUntil: new Date(1_800_000_000_000) }
  await desk.world.db.update(clusters).set(turn).where(eq(clusters.id, id))
  const shown = async () => (await desk.call('GET', `/clusters/${name}`)).body.initializer
  assert.equal(await shown(), { serial: first.serial, until: 1_800_000_000, failure: null })
  const failure = 'k3s.join: k3s does not start: "failed SASL auth"'
  await desk.world.db.update(devices).set({ state: 'failed', failure }).where(eq(devices.id, first.id))
  assert.is((await shown()).failure, failure)
})

test('release-initializer 200: the next one may go first; the audit says who lost its turn', async () => {
  const { name, id } = await cluster()
  const first = await member(id, { role: 'server', redeemed: true })
  await desk.world.db.update(clusters).set(lost(first.id)).where(eq(clusters.id, id))
  const before = await desk.call('GET', `/clusters/${name}`)
  assert.is(before.body.stuck_reason, 'the first server was not heard of')
  assert.is(before.body.initializer.serial, first.serial)
  const answer = await call(name, 'release-initializer')
  assert.is(answer.status, 200)
  assert.equal([answer.body.state, answer.body.stuck_reason, answer.body.initializer], ['virgin', null, null])
  assert.not.equal(answer.headers.get('etag'), before.headers.get('etag'))
  assert.equal(await auditOf(name, 'release-initializer'), [{ from: 'stuck', to: 'virgin', released: first.serial }])
  const again = await call(name, 'release-initializer')
  assert.equal([again.status, again.headers.get('etag')], [200, answer.headers.get('etag')])
})

test('rotated 409: a cluster that has not come up', async () => {
  for (const state of ['virgin', 'initializing']) {
    const { name } = await cluster({ state, caHash: null })
    assert.is((await call(name, 'rotated', { ca_hash: one })).body.code, 'state_conflict')
  }
})

test('rotated 200: ends compromised with what the admin rotated, and shows no secret', async () => {
  const { name, id } = await cluster({ state: 'compromised', caHash: one })
  const waiting = await member(id, {})
  const joined = await member(id, { state: 'ready', joined: true })
  const answer = await call(name, 'rotated', { server_token: 'ab'.repeat(32), ca_hash: two })
  assert.equal([answer.status, answer.body.state, answer.body.ca_hash], [200, 'up', two])
  assert.not.match(answer.text, 'ab'.repeat(32))
  assert.is(await tokenOf(id), 'ab'.repeat(32))
  const detail = { from: 'compromised', to: 'up', server_token: 'given', ca_hash: two }
  assert.equal(await auditOf(name, 'rotated'), [detail])
  // The document of one that has not joined holds the old CA hash.
  assert.is((await deviceOf(waiting.id))?.mustRejoin, true)
  assert.is((await deviceOf(joined.id))?.mustRejoin, false)
})

test('rotated 200: a kubeconfig that names the CA before is kept no longer, one of the same CA is', async () => {
  const kept = { escrowKubeconfig: true, kubeconfigSealed: Buffer.from('x'), kubeconfigAt: new Date(0) }
  for (const [ca_hash, expected] of [
    [one, Buffer.from('x')],
    [two, null],
  ] as const) {
    const { name, id } = await cluster({ state: 'up', caHash: one, ...kept })
    assert.is((await call(name, 'rotated', { ca_hash })).status, 200)
    assert.equal((await rowOf(id))?.kubeconfigSealed, expected)
  }
})

test('rotated 200: without a body nothing that the revoked server knew is used again', async () => {
  const { name, id } = await cluster({ state: 'compromised', caHash: one })
  const before = await tokenOf(id)
  const answer = await desk.call('POST', `/clusters/${name}/rotated`)
  assert.equal([answer.status, answer.body.state, answer.body.ca_hash], [200, 'virgin', null])
  assert.match(await tokenOf(id), /^[0-9a-f]{64}$/)
  assert.is.not(await tokenOf(id), before)

  const other = await cluster({ state: 'compromised', caHash: one })
  const server = await member(other.id, { role: 'server', redeemed: true, joined: true, state: 'ready' })
  await desk.world.db.update(enrollments).set({ observed: true }).where(eq(enrollments.id, server.enrollment))
  // Its servers will say the new CA hash; nobody begins it anew.
  assert.is((await call(other.name, 'rotated')).body.state, 'initializing')
})

test('reset 200: an empty body is none, whatever its type is said to be', async () => {
  const empty = () => new ReadableStream({ start: (controller) => controller.close() })
  for (const type of [{}, { 'content-type': 'application/x-www-form-urlencoded' }]) {
    const { name } = await cluster()
    const headers = { authorization: `Bearer ${desk.tokens.admin}`, ...type }
    // As it comes from a socket: there always is a stream.
    const init = { method: 'POST', headers, body: empty(), duplex: 'half' } as RequestInit
    const answer = await desk.app.request(`/api/v1/clusters/${name}/reset`, init)
    assert.is(answer.status, 200, await answer.text())
  }
})

test('rotated: of two CA hashes the admin says which is true', async () => {
  const stuckReason = `two CA hashes: ${one} by an admin, and now ${two} by its server dev_1`
  const { name, id } = await cluster({ state: 'stuck', stuckReason, caHash: one })
  const before = await tokenOf(id)
  assert.equal((await call(name, 'rotated')).body.errors, [{ path: 'ca_hash', reason: 'say which one is true' }])
  const answer = await call(name, 'rotated', { ca_hash: two })
  assert.equal([answer.body.state, answer.body.ca_hash, answer.body.stuck_reason], ['up', two, null])
  assert.is(await tokenOf(id), before)
})

test('rotated 200: a cluster that is up learns a new token; saying nothing changes nothing', async () => {
  const { name, id } = await cluster({ caHash: one })
  const first = await call(name, 'rotated')
  assert.equal([first.status, first.body.state], [200, 'up'])
  assert.equal(await auditOf(name, 'rotated'), [])
  assert.is((await call(name, 'rotated', { server_token: 'cd'.repeat(32) })).body.ca_hash, one)
  assert.is(await tokenOf(id), 'cd'.repeat(32))
})

test('reset 409: servers are enrolled, and nothing is changed', async () => {
  const { name, id } = await cluster()
  const server = await member(id, { role: 'server', state: 'ready', joined: true })
  const before = await rowOf(id)
  const answer = await call(name, 'reset')
  assert.is(answer.body.code, 'state_conflict')
  assert.match(answer.body.detail, /^1 of its servers/)
  assert.equal(await rowOf(id), before)
  assert.is((await deviceOf(server.id))?.state, 'ready')
})

test('reset 200: virgin, with another token; tasks, Nodes and agents’ tokens are gone', async () => {
  const { name, id } = await cluster({ caHash: one, kubeconfigSealed: Buffer.from('x'), state: 'compromised' })
  const agent = await member(id, { state: 'ready', joined: true })
  const at = new Date()
  const task = { id: 'tsk_reset', clusterId: id, verb: 'node-delete', subject: 'n1', createdAt: at }
  await desk.world.db.insert(tasks).values(task)
  await desk.world.db.insert(nodes).values({ clusterId: id, name: 'n1', source: 'server', firstSeenAt: at, seenAt: at })
  const before = await tokenOf(id)
  const answer = await desk.call('POST', `/clusters/${name}/reset`)
  assert.equal([answer.status, answer.body.state, answer.body.ca_hash], [200, 'virgin', null])
  assert.is.not(await tokenOf(id), before)
  const row = await rowOf(id)
  assert.equal([row?.kubeconfigSealed, row?.caHashFrom, row?.initializerDeviceId], [null, null, null])
  assert.is((await deviceOf(agent.id))?.mustRejoin, true)
  const open = and(eq(tasks.clusterId, id), isNull(tasks.doneAt))
  assert.equal(await desk.world.db.select().from(tasks).where(open), [])
  assert.equal(await desk.world.db.select().from(nodes).where(eq(nodes.clusterId, id)), [])
})

test('reset 200 with force: its servers’ enrollments end, and they may claim as on their first day', async () => {
  const { name, id } = await cluster()
  const servers = [
    await member(id, { role: 'server', state: 'ready', joined: true }),
    await member(id, { role: 'server', redeemed: true }),
  ]
  assert.is((await call(name, 'reset', { force: true })).status, 200)
  for (const server of servers) {
    const device = await deviceOf(server.id)
    assert.equal([device?.state, device?.assurance, device?.mustRejoin], ['registered', null, false])
    const [live] = await desk.world.db.select().from(enrollments).where(eq(enrollments.id, server.enrollment))
    assert.equal([live?.endReason, live?.documentSealed], ['reset', null])
  }
  assert.equal(await auditOf(name, 'reset'), [{ from: 'up', to: 'virgin', servers_ended: 2, forced: true }])
})

test('an Idempotency-Key makes a verb that was repeated one', async () => {
  const { name, id } = await cluster({ state: 'compromised', caHash: one })
  const headers = { 'idempotency-key': `once-${name}` }
  const answers = [
    await call(name, 'rotated', undefined, { headers }),
    await call(name, 'rotated', undefined, { headers }),
  ]
  assert.equal(answers[0]?.body, answers[1]?.body)
  assert.is((await auditOf(name, 'rotated')).length, 1)
  assert.is((await rowOf(id))?.version, 2)
})
