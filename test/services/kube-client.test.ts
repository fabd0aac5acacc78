import * as assert from 'uvu/assert'
import type { ClusterAccess } from '../../src/k3s/cluster.ts'
import { deleteNode, listNodes, publishToken } from '../../src/services/cluster-api.ts'
import { KubeError, kubeClient } from '../../src/services/kube-client.ts'
import { makeCa } from '../../src/tls/certificates.ts'
import { FakeKubeApi } from '../fakes/kube-api.ts'
import { suite } from '../suite.ts'

const test = suite('the API of a cluster that Rollcall did not make')
let api: FakeKubeApi
test.before(async () => {
  api = await FakeKubeApi.start()
})
test.after(() => api.stop())

type Kube = ReturnType<typeof kubeClient>
async function using<T>(work: (kube: Kube) => Promise<T>, change: Partial<ClusterAccess> = {}, signal?: AbortSignal) {
  const kube = kubeClient({ ...api.access, ...change }, signal ?? new AbortController().signal)
  try {
    return await work(kube)
  } finally {
    kube.close()
  }
}
const failure = (work: Promise<unknown>) =>
  work.then(
    () => assert.unreachable('it went well'),
    (error: unknown) => {
      assert.instance(error, KubeError)
      const { kind, message } = error as KubeError
      return `${kind}: ${message}`
    },
  )
const says = (status: number, body: unknown) => {
  api.answer = () => ({ status, body })
}

test('refuses a certificate from another CA, and sends it no token', async () => {
  const before = api.seen.length
  const ca = (await makeCa(Math.floor(Date.now() / 1000))).certificate
  assert.is(await failure(using(listNodes, { ca })), 'away: its certificate is not from the CA that was given')
  const endpoint = api.access.endpoint.replace('127.0.0.1', 'localhost')
  assert.is(await failure(using(listNodes, { endpoint })), 'away: its certificate is for another name')
  assert.is(api.seen.length, before)
})

test('tells one that is away from one that refuses', async () => {
  assert.is(await failure(using(listNodes, { endpoint: 'https://127.0.0.1:1' })), 'away: nothing listens there')
  says(401, { message: 'Unauthorized' })
  assert.is(await failure(using(listNodes)), 'away: it refuses the token (401)')
  says(503, 'apiserver not ready')
  assert.is(await failure(using(listNodes)), 'away: it answers 503')
  says(307, '')
  assert.is(await failure(using(listNodes)), 'away: it answers 307')
  says(403, { message: 'nodes is forbidden:\n\u202euser "x" cannot list' })
  assert.is(await failure(using(listNodes)), 'refused: it refuses (403): nodes is forbidden: user "x" cannot list')
})

test('gives up one that does not answer, that talks too much, and that is no Kubernetes', async () => {
  api.answer = () => undefined
  assert.is(await failure(using(listNodes, {}, AbortSignal.timeout(50))), 'away: it does not answer in time')
  api.answer = (_, response) => {
    response.writeHead(200)
    const chunk = Buffer.alloc(1_048_576, 32)
    const pour = () => {
      while (!response.destroyed && response.write(chunk));
      if (!response.destroyed) response.once('drain', pour)
    }
    pour()
    return undefined
  }
  assert.match(String(await failure(using(listNodes))), /^away: an answer has more than \d+ bytes$/)
  for (const body of ['<html>', 'null', '{"items": 1}']) {
    says(200, body)
    assert.is(await failure(using(listNodes)), 'away: it does not speak as Kubernetes does', body)
  }
})

test('does not follow an API that never ends its pages', async () => {
  says(200, { items: [{ metadata: { name: 'n1' } }], metadata: { continue: 'more' } })
  const { nodes, complete } = await using(listNodes)
  assert.equal([nodes.length, complete], [50, false])
})

test('takes of a Node what is there, whatever stands in it', async () => {
  const status = (ready: unknown, more: object = {}) => ({
    conditions: [null, { type: 'Ready', status: ready, ...more }],
    nodeInfo: { kubeletVersion: 'v1.36.3+k3s1' },
  })
  const items = [
    { metadata: { name: 'n1' }, status: status('True', { lastHeartbeatTime: '2026-11-23T10:00:00Z' }) },
    { metadata: { name: 'n2' }, status: status('False', { lastHeartbeatTime: 'yesterday' }) },
    { metadata: { name: 'n3' }, status: status('Unknown') },
    { metadata: { name: 'n4' }, status: { conditions: 'all well', nodeInfo: { kubeletVersion: {} } } },
    { metadata: { name: 5 } },
    null,
  ]
  says(200, { items })
  const version = 'v1.36.3+k3s1'
  assert.equal((await using(listNodes)).nodes, [
    { name: 'n1', ready: true, version, seenAt: 1_795_428_000 },
    { name: 'n2', ready: false, version },
    { name: 'n3', ready: null, version },
    { name: 'n4', ready: null, version: null },
  ])
})

test('deletes a Node by its name and nothing beside it', async () => {
  says(404, {})
  await using((kube) => deleteNode(kube, '../secrets/x?y'))
  assert.is(api.seen.at(-1)?.call, 'DELETE /api/v1/nodes/..%2Fsecrets%2Fx%3Fy')
})

test('publishes a token as K3s reads it, over one that is there, with the account’s token in the header alone', async () => {
  const from = api.seen.length
  let there = true
  api.answer = (call) => {
    if (call.startsWith('DELETE')) there = false
    return { status: call.startsWith('POST') ? (there ? 409 : 201) : 200, body: {} }
  }
  await using((kube) => publishToken(kube, { id: 'abcdef', secret: '0123456789abcdef', expiresAt: 1_795_428_000 }))
  const secrets = '/api/v1/namespaces/kube-system/secrets'
  const calls = api.seen.slice(from)
  assert.equal(
    calls.map(({ call }) => call),
    [`POST ${secrets}`, `DELETE ${secrets}/bootstrap-token-abcdef`, `POST ${secrets}`],
  )
  assert.equal(calls[2]?.body, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'bootstrap-token-abcdef', namespace: 'kube-system' },
    type: 'bootstrap.kubernetes.io/token',
    stringData: {
      'token-id': 'abcdef',
      'token-secret': '0123456789abcdef',
      expiration: '2026-11-23T10:00:00Z',
      'usage-bootstrap-authentication': 'true',
    },
  })
  assert.ok(calls.every(({ login }) => login === `Bearer ${api.token}`))
})
