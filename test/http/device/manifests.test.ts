import assert from 'node:assert/strict'
import { ClusterSpec, type Rancher } from '../../../src/k3s/cluster.ts'
import { columnsOf } from '../../../src/services/cluster-view.ts'
import { ClusterNode } from '../../fakes/cluster-node.ts'
import { type Desk, openDesk, problemOf } from '../../fakes/desk.ts'
import { FakeRancher } from '../../fakes/rancher.ts'
import { addCluster, addProfile } from '../../fakes/world.ts'
import { golden } from '../../golden.ts'
import { suite } from '../../suite.ts'

const test = suite('GET /v1/manifests')
let desk: Desk
let rancher: FakeRancher
let profile: string
let count = 0

test.before(async () => {
  desk = await openDesk()
  profile = await addProfile(desk.world)
  rancher = await FakeRancher.start()
})
test.after(async () => {
  rancher.stop()
  await desk.world.end()
})

/** A cluster with two servers. */
async function site(given: Rancher | undefined) {
  const name = `site-${++count}`
  const cluster = await addCluster(desk.world, { name })
  if (given) {
    const spec = ClusterSpec.parse({ name, version: 'v1.36.3+k3s1', datastore: { kind: 'sqlite' }, rancher: given })
    const { rancherSealed, rancherKind } = columnsOf(cluster, spec, desk.world.vault)
    await desk.world
      .sql`update clusters set rancher_sealed = ${rancherSealed}, rancher_kind = ${rancherKind} where id = ${cluster}`
  }
  const add = () => ClusterNode.add(desk.world, desk.app, { profile, cluster })
  return { name, first: await add(), second: await add() }
}
const get = (node: ClusterNode) =>
  desk.app.request('/v1/manifests', { headers: { authorization: `Bearer ${node.credential}` } })
const importing = (change: Partial<NonNullable<Rancher['import']>> = {}): Rancher => ({
  import: { url: rancher.url, token: rancher.token, ca: rancher.ca, ...change },
})
const install: Rancher = {
  install: {
    version: '2.15.1',
    cert_manager_version: 'v1.21.1',
    hostname: 'rancher.example.net',
    bootstrap_password: 'p"ss\\word:#{1}x',
    replicas: 3,
    allow_unsupported: false,
  },
}

test('401: without a node credential', async () => {
  const answer = await desk.app.request('/v1/manifests')
  assert.equal((await problemOf(answer)).code, 'credential_invalid')
})

test('204: a cluster that brings nothing', async () => {
  const { first } = await site(undefined)
  assert.equal((await get(first)).status, 204)
})

test('503 busy: a Rancher that is away, refuses the token or has another authority, and the server asks again', async () => {
  const nowhere = await site(importing({ url: 'https://127.0.0.1:1' }))
  const stranger = await site(importing({ token: 'token-zzzzz:zzzz' }))
  const foreign = await site(importing({ ca: undefined }))
  for (const { first } of [nowhere, stranger, foreign]) {
    const answer = await get(first)
    assert.ok(Number(answer.headers.get('retry-after')) > 0)
    assert.equal((await problemOf(answer)).code, 'busy')
  }
  const { first } = await site(importing())
  rancher.broken = 500
  assert.equal((await get(first)).status, 503)
  rancher.broken = undefined
  assert.equal((await get(first)).status, 200)
})

test('200: the import goes to the first server that asks, again after a lost answer, and to no other', async () => {
  const { name, first, second } = await site(importing())
  rancher.slow = 1
  assert.equal((await get(first)).status, 503, 'Rancher has no manifest for a moment')
  const answer = await get(first)
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('cache-control'), 'no-store')
  const made = rancher.clusters.filter((cluster) => cluster.name === name)
  assert.equal(made.length, 1, 'one cluster was made there')
  assert.equal(await answer.text(), rancher.manifest(made[0]?.id ?? ''))
  assert.equal((await get(second)).status, 204)

  const asked = rancher.seen.length
  assert.equal((await get(first)).status, 200)
  assert.equal(rancher.seen.length, asked, 'what is kept is not fetched again')
})

test('200: the token goes to Rancher’s API alone, wherever that says the manifest is', async () => {
  const { first } = await site(importing())
  rancher.place = '/elsewhere/import'
  const answer = await get(first)
  rancher.place = '/v3/import'
  assert.equal(answer.status, 200)
})

test('200: a manifest of a cluster that was made there by hand, without a login', async () => {
  const url = `${rancher.url}/v3/import/secret_c-99.yaml`
  const { first } = await site({ import: { url: rancher.url, manifest_url: url, ca: rancher.ca } })
  assert.equal(await (await get(first)).text(), rancher.manifest('c-99'))
})

test('200: an install of Rancher and cert-manager, whole', async () => {
  const { first, second } = await site(install)
  golden('rancher.yaml', await (await get(first)).text())
  assert.equal((await get(second)).status, 204)
})
