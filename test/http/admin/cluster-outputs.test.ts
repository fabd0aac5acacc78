import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import YAML from 'yaml'
import { listServers } from '../../../src/store/clusters.ts'
import { makeCa } from '../../../src/tls/certificates.ts'
import { type AdminDesk, clusterInput, openAdminDesk } from '../../fakes/admin-desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addEnrollment } from '../../fakes/enrollment.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { golden } from '../../golden.ts'
import { suite } from '../../suite.ts'

const test = suite('what of a cluster goes into other programs')
let desk: AdminDesk
const outputs = ['kubeconfig', 'haproxy', 'keepalived', 'zone']
const loadBalancer = { vips: ['10.1.0.10', 'fd00::10'], addresses: { 'sn-1': '127.0.0.1', 'sn-2': '::1' } }

test.before(async () => {
  desk = await openAdminDesk()
  const profile = await addProfile(desk.world)
  const apiEndpoint = 'https://k3s.site-a.example:6443'
  const cluster = await addCluster(desk.world, { apiEndpoint, loadBalancer })
  await addCluster(desk.world, { name: 'empty' })
  await addCluster(desk.world, { name: 'aimless', apiEndpoint: null })
  for (const serial of ['SN-1', 'SN-2', 'SN-3']) {
    await addDevice(desk.world, new FakeDevice(serial), { profile, cluster })
    await addEnrollment(desk.world, serial, { role: serial === 'SN-3' ? 'agent' : 'server', state: 'ready' })
  }
})
test.after(() => desk.world.end())

const get = (path: string, as: 'read' | 'admin' = 'admin') => desk.call('GET', `/clusters/${path}`, undefined, { as })
const audits = async () =>
  Number((await desk.world.sql`select count(*) as n from audit where action = 'cluster.kubeconfig'`)[0]?.n)

test('404: of a cluster that is none; 409: without servers or an API endpoint', async () => {
  for (const output of outputs) assert.equal((await get(`nowhere/${output}`)).status, 404, output)
  for (const output of outputs.slice(1))
    assert.equal((await get(`empty/${output}`)).body.code, 'state_conflict', output)
  assert.match((await get('aimless/haproxy')).body.detail, /api_endpoint/)
})

test('403: a kubeconfig for a token that may only read', async () => {
  assert.equal((await get('site-a/kubeconfig', 'read')).status, 403)
  assert.equal((await get('site-a/haproxy', 'read')).status, 200)
})

test('404: a kubeconfig that is not kept, or not kept any more', async () => {
  const answer = await get('site-a/kubeconfig')
  assert.equal(answer.status, 404)
  assert.match(answer.body.detail, /set escrow_kubeconfig/)
  assert.equal(await audits(), 0)
})

test('422: an interface or a router that is none', async () => {
  assert.equal((await get('site-a/keepalived?interface=eth0%3B')).status, 422)
  assert.equal((await get('site-a/keepalived?router_id=256')).status, 422)
})

test('200: haproxy.cfg, keepalived.conf and zone of the enrolled servers', async () => {
  golden('haproxy.cfg', (await get('site-a/haproxy')).text)
  golden('keepalived.conf', (await get('site-a/keepalived')).text)
  const zone = await get('site-a/zone')
  golden('zone.txt', zone.text)
  assert.match(zone.headers.get('content-type') ?? '', /^text\/plain/)
})

test('200: a server whose name every object of JavaScript has', async () => {
  const profile = await addProfile(desk.world, { name: 'named' })
  const cluster = await addCluster(desk.world, { name: 'named', apiEndpoint: 'https://named.example:6443' })
  await addDevice(desk.world, new FakeDevice('CONSTRUCTOR'), { profile, cluster })
  await addEnrollment(desk.world, 'CONSTRUCTOR', { role: 'server', state: 'ready' })
  assert.match((await get('named/haproxy')).text, /^ {4}server constructor constructor:6443$/m)
})

test('a server is found behind any number of agents', async () => {
  const profile = await addProfile(desk.world, { name: 'crowd' })
  const cluster = await addCluster(desk.world, { name: 'crowd' })
  for (const [serial, role] of [
    ['CROWD-A', 'agent'],
    ['CROWD-B', 'agent'],
    ['CROWD-S', 'server'],
  ] as const) {
    await addDevice(desk.world, new FakeDevice(serial), { profile, cluster })
    await addEnrollment(desk.world, serial, { role, state: 'ready' })
  }
  assert.deepEqual(await listServers(desk.world.db, cluster, 1), ['crowd-s'])
})

test('200: the virtual addresses of a cluster can be set, and stand in its answer', async () => {
  assert.deepEqual((await get('site-a')).body.load_balancer, loadBalancer)
  const refused = await desk.call('PATCH', '/clusters/empty', { load_balancer: { vips: ['not an address'] } })
  assert.deepEqual(
    refused.body.errors.map((one: { path: string }) => one.path),
    ['load_balancer.vips.0'],
  )
  const set = await desk.call('PATCH', '/clusters/empty', { load_balancer: { vips: ['10.2.0.10'] } })
  assert.deepEqual(set.body.load_balancer, { vips: ['10.2.0.10'], addresses: {} })
})

test('200: with virtual addresses, zone and keepalived.conf are there before the first server; haproxy.cfg is 409', async () => {
  const declared = { load_balancer: { vips: ['10.3.0.10'] }, api_endpoint: 'https://early.example:6443' }
  await desk.call('POST', '/clusters', clusterInput('early', declared))
  assert.equal((await get('early/zone')).text, '; API of cluster early\nearly.example. 60 IN A 10.3.0.10\n')
  assert.match((await get('early/keepalived')).text, / {8}10\.3\.0\.10\n/)
  assert.match((await get('early/haproxy')).body.detail, /no server yet/)
})

test('200: the kubeconfig, led to the API endpoint and noted in the audit each time; 409 once with a foreign CA, and it is forgotten', async () => {
  const { certificate } = await makeCa(desk.world.now())
  const base64 = (text: string) => Buffer.from(text).toString('base64')
  const uploaded = YAML.stringify({
    kind: 'Config',
    clusters: [{ cluster: { server: 'https://127.0.0.1:6443', 'certificate-authority-data': base64(certificate) } }],
    users: [
      { user: { 'client-certificate-data': base64('the certificate'), 'client-key-data': base64('the private key') } },
    ],
  })
  const [row] = await desk.world.sql`select id from clusters where name = 'site-a'`
  const sealed = desk.world.vault.seal(`clusters/${row?.id}/kubeconfig`, uploaded)
  const keep = () =>
    desk.world.sql`update clusters set escrow_kubeconfig = true, kubeconfig_sealed = ${sealed} where name = 'site-a'`
  await keep()
  const foreign = await get('site-a/kubeconfig')
  assert.equal(foreign.status, 409)
  assert.match(foreign.body.detail, /another CA/)
  assert.match((await get('site-a/kubeconfig')).body.detail, /no server of the cluster has sent it yet/)

  const caHash = createHash('sha256').update(certificate).digest('hex')
  await desk.world.sql`update clusters set ca_hash = ${caHash} where name = 'site-a'`
  await keep()
  const answer = await get('site-a/kubeconfig')
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('cache-control'), 'no-store')
  assert.equal(YAML.parse(answer.text).clusters[0].cluster.server, 'https://k3s.site-a.example:6443')
  assert.equal(await audits(), 1)
})
