import * as assert from 'uvu/assert'
import { type AdminDesk, clusterInput, openAdminDesk, versionInput } from '../../fakes/admin-desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('/clusters')
let desk: AdminDesk
test.before(async () => {
  desk = await openAdminDesk()
})
test.after(() => desk.world.end())

const caHash = 'c0'.repeat(32)
const endpoint = 'postgres://k3s:s3cret-pw@db.test:5432/site?sslmode=verify-full'
const paths = (answer: { body: { errors: { path: string }[] } }) => answer.body.errors.map((error) => error.path)
const idOf = async (name: string) =>
  String((await desk.world.sql`select id from clusters where name = ${name} and deleted_at is null`)[0]?.id)

test('422: everything wrong is said at once, each by its path', async () => {
  const input = {
    name: 'Bad_Name',
    version: 'v1.36',
    datastore: { kind: 'mysql', colour: 'red' },
    settings: [],
    tls_sans: 'x',
    more: 1,
  }
  const answer = await desk.call('POST', '/clusters', input)
  assert.is(answer.status, 422)
  assert.is(answer.body.code, 'invalid')
  assert.equal(paths(answer).sort(), ['datastore.colour', 'more', 'name', 'settings', 'tls_sans', 'version'])
})

test('422: no hashes on record, unless allow_unpinned', async () => {
  const answer = await desk.call('POST', '/clusters', clusterInput('pinned', { allow_unpinned: false }))
  assert.equal(paths(answer), ['version'])
  await desk.call('POST', '/versions', versionInput)
  assert.is((await desk.call('POST', '/clusters', clusterInput('pinned', { allow_unpinned: false }))).status, 201)
})

test('201: an embedded etcd of one server needs no api_endpoint', async () => {
  const etcd = { datastore: { kind: 'embedded-etcd' }, api_endpoint: undefined }
  assert.is((await desk.call('POST', '/clusters', clusterInput('alone', etcd))).status, 201)
})

test('422: a datastore that its kind or this server cannot have', async () => {
  const missing = { managed: 'datastore.kind', mysql: 'datastore.endpoint', etcd: 'datastore.endpoint' }
  for (const [kind, path] of Object.entries(missing)) {
    const answer = await desk.call('POST', '/clusters', clusterInput('x', { datastore: { kind } }))
    assert.equal(paths(answer), [path], kind)
  }
  const sqlite = await desk.call('POST', '/clusters', clusterInput('x', { datastore: { kind: 'sqlite', endpoint } }))
  assert.equal(paths(sqlite), ['datastore.endpoint'])
  const postgres = await desk.call('POST', '/clusters', clusterInput('x', { datastore: { kind: 'postgres' } }))
  assert.equal(paths(postgres), ['datastore.endpoint'])
  const leaky = { kind: 'postgres', endpoint: 'postgres://k3s:s3cret pw@db.test/Site' }
  assert.not.match((await desk.call('POST', '/clusters', clusterInput('x', { datastore: leaky }))).text, /s3cret/)
})

test('422: an API endpoint that is none, a name that is none, a setting that is not the cluster’s', async () => {
  const answer = await desk.call(
    'POST',
    '/clusters',
    clusterInput('x', {
      api_endpoint: 'http://x:6443',
      tls_sans: ['ok.test', 'not ok'],
      settings: { 'node-name': 'x' },
    }),
  )
  assert.equal(paths(answer), ['api_endpoint', 'tls_sans.1', 'settings.node-name'])
})

test('403: declaring takes scope admin, reading scope read', async () => {
  assert.is((await desk.call('POST', '/clusters', clusterInput('x'), { as: 'write' })).status, 403)
  assert.is((await desk.call('PATCH', '/clusters/pinned', {}, { as: 'write' })).status, 403)
  assert.is((await desk.call('DELETE', '/clusters/pinned', undefined, { as: 'write' })).status, 403)
  assert.is((await desk.call('GET', '/clusters/pinned', undefined, { as: 'read' })).status, 200)
})

test('404: unknown names, names that cannot be, verbs of later releases', async () => {
  for (const name of ['nowhere', 'A B', '%00', '%FF', encodeURIComponent('\u{1f600}'), 'x'.repeat(2_000)]) {
    assert.is((await desk.call('GET', `/clusters/${name}`)).status, 404, name)
  }
  assert.is((await desk.call('POST', '/clusters/pinned/restart', {})).status, 404)
  assert.is((await desk.call('GET', '/clusters/pinned/kubeconfig')).status, 404)
})

test('201: virgin without a CA hash, up with one', async () => {
  const virgin = await desk.call('POST', '/clusters', clusterInput('virgin'))
  assert.is(virgin.status, 201)
  assert.is(virgin.headers.get('location'), '/api/v1/clusters/virgin')
  assert.is(virgin.body.state, 'virgin')
  assert.equal(virgin.body.nodes, [])
  const up = await desk.call('POST', '/clusters', clusterInput('up', { ca_hash: caHash }))
  assert.is(up.body.state, 'up')
  assert.is(up.body.ca_hash, caHash)
})

test('no answer, list or audit row ever holds the server token or the datastore', async () => {
  const datastore = { kind: 'postgres', endpoint }
  const made = await desk.call('POST', '/clusters', clusterInput('secretive', { datastore }))
  assert.is(made.status, 201)
  assert.equal(made.body.datastore, { kind: 'postgres' })
  const [row] = await desk.world.sql`select * from clusters where name = 'secretive'`
  const token = desk.world.vault.open(`clusters/${row?.id}/server_token`, row?.server_token_sealed).toString()
  assert.match(token, /^[0-9a-f]{64}$/)
  const stored = desk.world.vault.open(`clusters/${row?.id}/datastore`, row?.datastore_sealed).toString()
  assert.equal(JSON.parse(stored), datastore)
  const patched = await desk.call('PATCH', '/clusters/secretive', { datastore: { endpoint: `${endpoint}&x=1` } })
  assert.is(patched.status, 200)
  const everything = [made, patched, await desk.call('GET', '/clusters'), await desk.call('GET', '/clusters/secretive')]
  everything.push(await desk.call('GET', '/audit?target=cluster:secretive'))
  for (const { text } of everything) assert.not.ok(text.includes('s3cret') || text.includes(token))
})

test('422: a registries.yaml that K3s could not use; one that it can is never shown again', async () => {
  const bad = await desk.call('POST', '/clusters', clusterInput('x', { registries: 'mirror: {docker.io: 1}' }))
  assert.equal(paths(bad), ['registries'])
  const registries = 'configs: {r.test: {auth: {username: puller, password: s3cret-pull}}}'
  const made = await desk.call('POST', '/clusters', clusterInput('pulls', { registries }))
  assert.is(made.body.registries, true)
  const kept = await desk.call('PATCH', '/clusters/pulls', { tls_sans: ['a.test'] })
  const [row] = await desk.world.sql`select id, registries_sealed from clusters where name = 'pulls'`
  const stored = desk.world.vault.open(`clusters/${row?.id}/registries`, row?.registries_sealed).toString()
  assert.is(stored, registries)
  const ended = await desk.call('PATCH', '/clusters/pulls', { registries: null })
  assert.is(ended.body.registries, false)
  const audit = await desk.call('GET', '/audit?target=cluster:pulls')
  for (const { text } of [made, kept, ended, audit]) assert.not.match(text, /s3cret-pull/)
})

test('409: the name of a live cluster', async () => {
  const again = await desk.call('POST', '/clusters', clusterInput('virgin'))
  assert.is(again.status, 409)
  assert.is(again.body.code, 'already_exists')
})

test('PATCH merges: what is not named stays, null takes back, nothing new writes nothing', async () => {
  const sans = ['a.test', '10.0.0.1']
  const input = clusterInput('merge', { tls_sans: sans, settings: { 'flannel-backend': 'none', selinux: true } })
  const made = await desk.call('POST', '/clusters', input)
  const same = await desk.call('PATCH', '/clusters/merge', { tls_sans: sans })
  assert.is(same.headers.get('etag'), made.headers.get('etag'))
  const patch = { settings: { selinux: null, debug: true }, api_endpoint: 'https://merge.test:6443' }
  const { body, headers } = await desk.call('PATCH', '/clusters/merge', patch)
  assert.equal(body.settings, { 'flannel-backend': 'none', debug: true })
  assert.equal(body.tls_sans, sans)
  assert.is(body.allow_unpinned, true)
  assert.is.not(headers.get('etag'), made.headers.get('etag'))
  const back = await desk.call('PATCH', '/clusters/merge', { tls_sans: null, api_endpoint: null })
  assert.equal(back.body.tls_sans, [])
  assert.is(back.body.api_endpoint, null)
})

test('PATCH keeps the rest of a sealed datastore', async () => {
  const cafile = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
  const datastore = { kind: 'postgres', endpoint, cafile }
  await desk.call('POST', '/clusters', clusterInput('sealed', { datastore }))
  const moved = endpoint.replace('db.test', 'db2.test')
  assert.is((await desk.call('PATCH', '/clusters/sealed', { datastore: { endpoint: moved } })).status, 200)
  const [row] = await desk.world.sql`select id, datastore_sealed from clusters where name = 'sealed'`
  const stored = desk.world.vault.open(`clusters/${row?.id}/datastore`, row?.datastore_sealed).toString()
  assert.equal(JSON.parse(stored), { ...datastore, endpoint: moved })
})

test('PATCH: a CA hash brings a virgin cluster up, its end makes it virgin again', async () => {
  await desk.call('POST', '/clusters', clusterInput('rises'))
  assert.is((await desk.call('PATCH', '/clusters/rises', { ca_hash: caHash })).body.state, 'up')
  assert.is((await desk.call('PATCH', '/clusters/rises', { ca_hash: null })).body.state, 'virgin')
})

test('422 and 409: a patch that ends in nonsense, a new name, a datastore under a cluster that has begun', async () => {
  await desk.call('POST', '/clusters', clusterInput('firm', { ca_hash: caHash }))
  assert.equal(paths(await desk.call('PATCH', '/clusters/firm', { version: null })), ['version'])
  assert.equal(paths(await desk.call('PATCH', '/clusters/firm', { name: 'other' })), ['name'])
  assert.equal(paths(await desk.call('PATCH', '/clusters/firm', { state: 'up' })), ['state'])
  const moved = await desk.call('PATCH', '/clusters/firm', { datastore: { kind: 'postgres', endpoint } })
  assert.is(moved.body.code, 'state_conflict')
})

test('412: If-Match of an older state; 200 for the present one, a list that has it, and *', async () => {
  const { headers } = await desk.call('POST', '/clusters', clusterInput('guarded'))
  const first = headers.get('etag') as string
  const change = (san: string, ifMatch: string) =>
    desk.call('PATCH', '/clusters/guarded', { tls_sans: [san] }, { headers: { 'if-match': ifMatch } })
  const second = await change('1.test', first)
  assert.is(second.status, 200)
  const present = second.headers.get('etag') as string
  for (const stale of [first, `W/${present}`, `${first}, "x"`, 'x', present.slice(1, -1), '']) {
    const answer = await change('2.test', stale)
    assert.is(answer.status, 412, stale)
    assert.is(answer.body.code, 'precondition_failed')
  }
  const third = await change('3.test', `"x", ${present}`)
  assert.is(third.status, 200)
  assert.is((await change('4.test', '*')).status, 200)
  const remove = (ifMatch: string) =>
    desk.call('DELETE', '/clusters/guarded', undefined, { headers: { 'if-match': ifMatch } })
  assert.is((await remove(present)).status, 412)
  assert.is((await remove('*')).status, 204)
})

test('409: a cluster with a device stays; a retired device holds nothing', async () => {
  await desk.call('POST', '/clusters', clusterInput('held', { api_endpoint: 'https://held.test:6443' }))
  const profile = await addProfile(desk.world, { name: 'holder' })
  const device = await addDevice(desk.world, new FakeDevice('SN-1'), { profile, cluster: await idOf('held') })
  assert.is((await desk.call('DELETE', '/clusters/held')).body.code, 'state_conflict')
  const withdrawn = await desk.call('PATCH', '/clusters/held', { api_endpoint: null })
  assert.is(withdrawn.body.code, 'state_conflict')
  await desk.world.sql`update devices set state = 'retired' where id = ${device}`
  assert.is((await desk.call('DELETE', '/clusters/held')).status, 204)
  assert.is((await desk.call('GET', '/clusters/held')).status, 404)
  const again = await desk.call('POST', '/clusters', clusterInput('held'))
  assert.is(again.status, 201)
})

test('every change is in the audit log, by whom and in which request', async () => {
  await desk.call('POST', '/clusters', clusterInput('logged'))
  await desk.call('PATCH', '/clusters/logged', { tls_sans: ['x.test'] })
  await desk.call('DELETE', '/clusters/logged')
  const { body } = await desk.call('GET', '/audit?target=cluster:logged')
  const actions = body.items.map((item: { action: string; actor: string }) => [item.action, item.actor])
  const by = 'token:admin'
  assert.equal(actions, [
    ['cluster.delete', by],
    ['cluster.change', by],
    ['cluster.create', by],
  ])
  for (const item of body.items) assert.match(item.request_id, /^[0-9a-f-]{36}$/)
})

test('lists page by page, each cluster once', async () => {
  const all = await desk.call('GET', '/clusters')
  assert.is(all.body.next_cursor, null)
  const seen: string[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const page = await desk.call('GET', `/clusters?limit=3${cursor ? `&cursor=${cursor}` : ''}`)
    assert.ok(page.body.items.length <= 3)
    seen.push(...page.body.items.map((item: { name: string }) => item.name))
    cursor = page.body.next_cursor
  }
  assert.equal(
    seen,
    all.body.items.map((item: { name: string }) => item.name),
  )
  assert.ok(seen.length > 6)
})

test('422: a limit or cursor that is none', async () => {
  for (const query of ['limit=0', 'limit=501', 'limit=-1', 'limit=1e2', 'limit=', 'limit=1&limit=2', 'cursor=%00']) {
    assert.is((await desk.call('GET', `/clusters?${query}`)).status, 422, query)
  }
  for (const query of ['cursor=', 'cursor=!', 'cursor=YQ%3D%3D']) {
    assert.equal(paths(await desk.call('GET', `/clusters?${query}`)), ['query.cursor'], query)
  }
})
