import * as assert from 'uvu/assert'
import { followUpgrades } from '../../../src/services/follow-upgrades.ts'
import { type AdminDesk, clusterInput, openAdminDesk } from '../../fakes/admin-desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addDevice, addEnrollment, addNode, addProfile } from '../../fakes/world.ts'
import { golden } from '../../golden.ts'
import { suite } from '../../suite.ts'

const test = suite('upgrade of a cluster')
let desk: AdminDesk
let profile: string
test.before(async () => {
  desk = await openAdminDesk()
  profile = await addProfile(desk.world, { name: 'edge' })
})
test.after(() => desk.world.end())

const [from, to, next] = ['v1.36.2+k3s1', 'v1.36.3+k3s1', 'v1.37.0+k3s1'] as const
const hashes = { artifacts: { amd64: { sha256: 'a1'.repeat(32) } }, install_script: { sha256: 'b2'.repeat(32) } }

async function cluster(name: string, change: Record<string, unknown> = {}): Promise<void> {
  const input = { version: from, ca_hash: 'c0'.repeat(32), api_endpoint: `https://${name}.test:6443`, ...change }
  assert.is((await desk.call('POST', '/clusters', clusterInput(name, input))).status, 201)
}
const idOf = async (name: string) =>
  String((await desk.world.sql`select id from clusters where name = ${name} and deleted_at is null`)[0]?.id)

let serial = 0
/** A Node that its cluster shows; without a role it is a stranger. */
async function node(
  clusterName: string,
  name: string,
  role: 'server' | 'agent' | null,
  version: string,
  { of = profile, vars = {} }: { of?: string; vars?: Record<string, string> } = {},
) {
  const clusterId = await idOf(clusterName)
  if (role === null) return addNode(desk.world, clusterId, { name, version })
  const device = await addDevice(
    desk.world,
    new FakeDevice(`SN-${++serial}`),
    { profile: of, cluster: clusterId },
    { vars },
  )
  const enrollmentId = await addEnrollment(desk.world, {
    deviceId: device,
    clusterId,
    profileId: of,
    role,
    hostname: name,
  })
  return addNode(desk.world, clusterId, { name, version, deviceId: device, enrollmentId })
}
const seen = (clusterName: string, name: string, version: string) => desk.world.sql`
  update nodes set version = ${version} from clusters c
  where c.id = nodes.cluster_id and c.name = ${clusterName} and nodes.name = ${name}`

const upgrade = (name: string, body: Record<string, unknown> = {}, options = {}) =>
  desk.call('POST', `/clusters/${name}/upgrade`, { version: to, ...body }, options)

test('404: a cluster that is not there; the plan of one that was never upgraded', async () => {
  assert.is((await upgrade('nowhere')).status, 404)
  await cluster('calm')
  const none = await desk.call('GET', '/clusters/calm/upgrade-plan')
  assert.is(none.status, 404)
  assert.is(none.body.detail, 'no upgrade was ordered, or it was called off')
})

test('403: takes scope admin; the plan, scope read', async () => {
  assert.is((await upgrade('calm', {}, { as: 'write' })).status, 403)
  assert.is((await desk.call('GET', '/clusters/calm/upgrade-plan', undefined, { as: 'nobody' })).status, 401)
})

test('422: no version, no hashes on record', async () => {
  assert.is((await desk.call('POST', '/clusters/calm/upgrade', {})).status, 422)
  await desk.world.sql`update clusters set allow_unpinned = false where name = 'calm'`
  const answer = await upgrade('calm')
  assert.is(answer.status, 422)
  assert.is(answer.body.errors[0].path, 'version')
  await desk.call('POST', '/versions', { version: to, ...hashes })
})

test('412: an If-Match of an older state', async () => {
  assert.is((await upgrade('calm', {}, { headers: { 'if-match': '"x.0"' } })).status, 412)
})

for (const [what, version, words] of [
  ['a downgrade', 'v1.36.1+k3s1', /older/],
  ['the version that runs', from, /already/],
  ['a version that skips a minor', 'v1.38.0+k3s1', /skips/],
] as const) {
  test(`409: ${what}`, async () => {
    const answer = await upgrade('calm', { version })
    assert.is(answer.status, 409)
    assert.is(answer.body.code, 'state_conflict')
    assert.match(answer.body.detail, words)
  })
}

test('409: a cluster that has not begun, or is stuck', async () => {
  await cluster('fresh', { ca_hash: undefined })
  assert.match((await upgrade('fresh')).body.detail, /PATCH its version/)
  await desk.world.sql`update clusters set state = 'stuck' where name = 'fresh'`
  assert.match((await upgrade('fresh')).body.detail, /is stuck/)
})

test('409: a node that was left behind would skip a minor', async () => {
  await cluster('uneven')
  await node('uneven', 'old', 'agent', 'v1.34.9+k3s1')
  assert.match((await upgrade('uneven')).body.detail, /^old runs v1\.34\.9\+k3s1: .*skips/)
})

const install = {
  version: '2.15.1',
  cert_manager_version: 'v1.21.1',
  hostname: 'rancher.example.net',
  bootstrap_password: 'not-to-be-guessed',
}

test('409: a version that the Rancher on the cluster does not support; 200 where the admin does not mind', async () => {
  await cluster('ranch', { rancher: { install } })
  assert.match(
    (await upgrade('ranch', { version: next })).body.detail,
    /^Rancher 2\.15\.1 supports .* 1\.36, and v1\.37\.0/,
  )
  const bold = { rancher: { install: { ...install, allow_unsupported: true } } }
  assert.is((await desk.call('PATCH', '/clusters/ranch', bold)).status, 200)
  assert.is((await upgrade('ranch', { version: next })).status, 200)
})

test('200: a cluster whose version went past its Rancher may be changed otherwise', async () => {
  await cluster('past', { rancher: { install } })
  await desk.world.sql`update clusters set k3s_version = ${next} where name = 'past'`
  assert.is((await desk.call('PATCH', '/clusters/past', { escrow_kubeconfig: true })).status, 200)
  const other = { rancher: { install: { hostname: 'other.example.net' } } }
  assert.equal((await desk.call('PATCH', '/clusters/past', other)).body.errors[0].path, 'rancher.install.version')
})

test('422: a Rancher to be installed by the Helm controller that the settings turn off', async () => {
  const settings = { 'disable-helm-controller': true }
  const answer = await desk.call('POST', '/clusters', clusterInput('helmless', { settings, rancher: { install } }))
  assert.equal([answer.status, answer.body.errors?.[0].path], [422, 'settings.disable-helm-controller'])
  await cluster('helmless', { rancher: { install } })
  assert.is((await desk.call('PATCH', '/clusters/helmless', { settings })).status, 422)
})

test('409: a PATCH of the version once a cluster has begun, or a machine has its document', async () => {
  const patched = await desk.call('PATCH', '/clusters/calm', { version: to })
  assert.is(patched.status, 409)
  assert.match(patched.body.detail, /POST .*\/clusters\/calm\/upgrade/)
  await cluster('virgin', { ca_hash: undefined })
  assert.is((await desk.call('PATCH', '/clusters/virgin', { version: next })).body.version, next)
  const device = await addDevice(desk.world, new FakeDevice('SN-V'), { profile, cluster: await idOf('virgin') })
  await addEnrollment(desk.world, {
    deviceId: device,
    clusterId: await idOf('virgin'),
    profileId: profile,
    role: 'server',
    hostname: 'v',
  })
  assert.is((await desk.call('PATCH', '/clusters/virgin', { version: to })).status, 409)
})

test('200: servers first, then the version of new machines, then agents', async () => {
  await cluster('site-a')
  await node('site-a', 's1', 'server', from)
  await node('site-a', 's2', 'server', from)
  await node('site-a', 'a1', 'agent', from)
  const begun = await upgrade('site-a')
  assert.is(begun.status, 200)
  assert.is(begun.body.version, from)
  const { servers, agents, state, apply, stuck_reason } = begun.body.upgrade
  assert.equal(
    { servers, agents, state, stuck_reason },
    { servers: { at: 0, of: 2 }, agents: { at: 0, of: 1 }, state: 'running', stuck_reason: null },
  )
  assert.match(apply, /\/api\/v1\/clusters\/site-a\/upgrade-plan" \| kubectl apply -f -$/)

  await seen('site-a', 's1', to)
  await followUpgrades(desk.world)
  const half = (await desk.call('GET', '/clusters/site-a')).body
  assert.equal([half.version, half.upgrade.servers], [from, { at: 1, of: 2 }])

  await seen('site-a', 's2', to)
  await followUpgrades(desk.world)
  const served = (await desk.call('GET', '/clusters/site-a')).body
  assert.equal([served.version, served.upgrade.state], [to, 'running'])
  assert.is(served.upgrade.servers_done_at, desk.world.now())

  await seen('site-a', 'a1', to)
  await followUpgrades(desk.world)
  const done = (await desk.call('GET', '/clusters/site-a')).body
  assert.equal([done.upgrade.state, done.upgrade.done_at, done.upgrade.apply], ['done', desk.world.now(), null])
  const { body } = await desk.call('GET', '/audit?target=cluster:site-a')
  const actions = body.items.map((item: { action: string; actor: string }) => `${item.actor} ${item.action}`)
  assert.equal(actions, [
    'server cluster.upgrade.done',
    'server cluster.upgrade.servers',
    'token:admin cluster.upgrade',
    'token:admin cluster.create',
  ])
})

test('200: the plan is YAML, as asked for', async () => {
  const answer = await desk.call('GET', '/clusters/site-a/upgrade-plan', undefined, { as: 'read' })
  assert.is(answer.headers.get('content-type'), 'application/yaml')
  golden('upgrade-plan.yaml', answer.text)
})

test('409: an upgrade while one runs; 200 with replace, which changes its window', async () => {
  await cluster('busy')
  await node('busy', 's1', 'server', from)
  assert.is((await upgrade('busy')).status, 200)
  const second = await upgrade('busy')
  assert.is(second.status, 409)
  assert.match(second.body.detail, /upgrade to v1\.36\.3\+k3s1 runs/)
  const window = { days: ['sunday'], start: '01:00', end: '02:00' }
  const replaced = await upgrade('busy', { window, replace: true })
  assert.equal(replaced.body.upgrade.window, { ...window, time_zone: 'UTC' })
  assert.is(replaced.body.upgrade.waits_for, 'its window: sunday 01:00-02:00 UTC')
})

test('200: back to where it came from calls it off, while no node has changed; 409 after', async () => {
  const off = await upgrade('busy', { version: from, replace: true })
  assert.is(off.body.upgrade.state, 'ended')
  assert.is((await desk.call('GET', '/clusters/busy/upgrade-plan')).status, 404)
  await upgrade('busy')
  await seen('busy', 's1', to)
  const late = await upgrade('busy', { version: from, replace: true })
  assert.is(late.status, 409)
  assert.match(late.body.detail, /s1 runs v1\.36\.3\+k3s1 already/)
})

test('a stranger may be a server: the version waits for it', async () => {
  await cluster('strange')
  await node('strange', 's1', 'server', to)
  await node('strange', 'x1', null, from)
  await upgrade('strange')
  await followUpgrades(desk.world)
  const { version, upgrade: seenNow } = (await desk.call('GET', '/clusters/strange')).body
  assert.equal([version, seenNow.strangers], [from, { at: 0, of: 1 }])
})

test('is stuck half an hour later, with the reason', async () => {
  const { now } = desk.world.clock
  desk.world.clock.now = now + 1_800
  const { body } = await desk.call('GET', '/clusters/strange')
  assert.match(body.upgrade.stuck_reason, /x1 is next/)
  desk.world.clock.now = now
})

test('warns of nodes that run K3s in a container, and says what waits for them', async () => {
  const contained = await addProfile(desk.world, { name: 'contained', vars: { runtime: 'container' } })
  await cluster('mixed')
  await node('mixed', 's1', 'server', from)
  await node('mixed', 's2', 'server', from, { of: contained })
  await node('mixed', 'a1', 'agent', from, { vars: { runtime: 'container' } })
  await node('mixed', 'a2', 'agent', from, { of: contained, vars: { runtime: 'host' } })
  await node('mixed', 'x1', null, to)
  const image = `registry.test/k3s-upgrade@sha256:${'0'.repeat(64)}`
  const { warnings } = (await upgrade('mixed', { image })).body
  assert.is(warnings.length, 1)
  assert.match(warnings[0], /^K3s of a1, s2 runs in a container/)
  await seen('mixed', 's1', to)
  const { now } = desk.world.clock
  desk.world.clock.now = now + 1_800
  assert.match((await desk.call('GET', '/clusters/mixed')).body.upgrade.stuck_reason, /K3s of s2 runs in a container/)
  desk.world.clock.now = now
})

test('warns of an image named by tag, of a fault that the version has, and of a Rancher', async () => {
  const endpoint = 'postgres://k3s:pw@db.test:5432/site'
  const rancher = { import: { url: 'https://rancher.example.net', token: 'token-1:secret' } }
  await cluster('warned', { datastore: { kind: 'postgres', endpoint }, rancher })
  const { warnings } = (await upgrade('warned')).body
  assert.is(warnings.length, 4)
  assert.match(warnings.join('\n'), /pgbouncer[\s\S]*COLLATE[\s\S]*by tag[\s\S]*Rancher/)
})
