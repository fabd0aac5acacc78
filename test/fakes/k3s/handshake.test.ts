import { createHash, X509Certificate } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { caHash } from '../../../src/k3s/ca-hash.ts'
import { testsWithKine } from '../../kine/program.ts'
import { suite } from '../../suite.ts'
import { ask } from './ask.ts'
import { bootstrapKey, takeTurn } from './bootstrap.ts'
import { captured, type Exchange, exchange } from './captured.ts'
import { makeLeaf, makeRequest } from './certificates.ts'
import { nodes, secrets } from './resources.ts'
import { type Simulator, startSimulator } from './simulator.ts'

const test = suite("the K3s simulator's handshake is the captured one", { timeout: 60_000 })
const withKine = testsWithKine(test)

const bootstrap = 'abc123.0123456789abcdef'
const password = '00112233445566778899aabbccddeeff'
let simulator: Simulator
let request: Buffer

const startOnce = async () => {
  simulator ??= await startSimulator({ sans: ['k3s.site1.example'] })
  request ??= (await makeRequest()).request
}
test.after(() => simulator?.stop())

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const basic = (user: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${simulator.token}`).toString('base64')}`,
})
const get = (path: string, headers = {}) => exchange(simulator.url, path, headers)
const kubelet = (headers: Record<string, string>) =>
  exchange(simulator.url, '/v1-k3s/client-kubelet.crt', { ...bearer(bootstrap), ...headers }, request)

async function addToken(id: string, more: Record<string, string> = {}) {
  const texts = {
    'token-id': id,
    'token-secret': '0123456789abcdef',
    expiration: new Date(Date.now() + 600_000).toISOString(),
    'usage-bootstrap-authentication': 'true',
    ...more,
  }
  const data = Object.entries(texts).map(([key, value]) => [key, Buffer.from(value).toString('base64')])
  await simulator.store.create(secrets, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: `bootstrap-token-${id}`, namespace: 'kube-system' },
    type: 'bootstrap.kubernetes.io/token',
    data: Object.fromEntries(data),
  })
}

/** Status, body, and every header but those that say when. */
function assertSame(seen: Exchange, name: string): void {
  const wanted = captured(name)
  const stable = ({ headers: { date: _, 'last-modified': __, ...headers }, ...rest }: Exchange) => ({
    ...rest,
    headers,
  })
  assert.equal(stable(seen), stable(wanted), name)
}

withKine('nobody is told nothing, an unknown token is refused, each in the captured words', async () => {
  await startOnce()
  assertSame(await get('/v1-k3s/config'), 'config-no-auth')
  assertSame(await get('/v1-k3s/config', bearer('zzz999.0123456789abcdef')), 'config-unknown-token')
  assertSame(
    await kubelet({ ...bearer('zzz999.0123456789abcdef'), 'k3s-node-name': 'sn-0042' }),
    'client-kubelet-unknown-token',
  )
})

withKine('a server token is no agent token, and an agent token no server token', async () => {
  await startOnce()
  await addToken('abc123')
  assertSame(await get('/v1-k3s/config', basic('server')), 'config-server-token')
  assertSame(await get('/v1-k3s/server-bootstrap', bearer(bootstrap)), 'server-bootstrap-with-bootstrap-token')
  const files = JSON.parse((await get('/v1-k3s/server-bootstrap', basic('server'))).body)
  assert.is(files.ServerCA, simulator.files.ServerCA)
})

withKine('a bootstrap token and a node token get the configuration, with the captured members', async () => {
  await startOnce()
  for (const [name, headers] of [
    ['config-bootstrap-token', bearer(bootstrap)],
    ['config-node-basic', basic('node')],
  ] as const) {
    const [seen, wanted] = [await get('/v1-k3s/config', headers), captured(name)]
    assert.is(seen.status, 200)
    assert.is(seen.headers['content-type'], wanted.headers['content-type'])
    const [got, real] = [JSON.parse(seen.body), JSON.parse(wanted.body)]
    assert.equal(Object.keys(got), Object.keys(real))
    assert.equal({ ...got, SANs: real.SANs }, real)
    assert.ok(got.SANs.includes('k3s.site1.example'))
  }
})

withKine('ping, readiness, authorities: the captured answers with certificates of their own', async () => {
  await startOnce()
  assertSame(await get('/ping'), 'ping')
  assertSame(await get('/v1-k3s/readyz', bearer(bootstrap)), 'readyz-bootstrap')
  assertSame(await get('/v1-k3s/apiservers', bearer(bootstrap)), 'apiservers-bootstrap')
  const cacerts = await get('/cacerts')
  assert.is(cacerts.headers['content-type'], captured('cacerts').headers['content-type'])
  assert.is(createHash('sha256').update(cacerts.body).digest('hex'), caHash(Buffer.from(cacerts.body)))
  assert.match(new X509Certificate(cacerts.body).subject, /^CN=k3s-server-ca@\d+$/)
  const clientCa = await get('/v1-k3s/client-ca.crt', bearer(bootstrap))
  assert.is(clientCa.headers['accept-ranges'], 'bytes')
  assert.match(new X509Certificate(clientCa.body).subject, /^CN=k3s-client-ca@\d+$/)
})

withKine(
  'a node gets a certificate with its first password, and with no other until its Node was deleted',
  async () => {
    await startOnce()
    assertSame(await kubelet({}), 'client-kubelet-no-name')
    const named = { 'k3s-node-name': 'sn-0042', 'k3s-node-password': password }
    const answer = await kubelet(named)
    assert.is(answer.status, 200)
    assert.is(answer.headers['content-type'], captured('client-kubelet-200').headers['content-type'])
    const [leaf, authority] = answer.body
      .split(/(?<=-----END CERTIFICATE-----\n)/)
      .map((pem) => new X509Certificate(pem))
    assert.is(leaf?.subject, 'O=system:nodes\nCN=system:node:sn-0042')
    assert.ok(authority && leaf?.verify(authority.publicKey))
    assertSame(await kubelet({ ...named, 'k3s-node-password': 'f'.repeat(32) }), 'client-kubelet-wrong-password')

    await simulator.store.create(nodes, { apiVersion: 'v1', kind: 'Node', metadata: { name: 'sn-0042' } })
    await simulator.store.delete(secrets, 'sn-0042.node-password.k3s', 'kube-system')
    assert.is((await kubelet({ ...named, 'k3s-node-password': 'f'.repeat(32) })).status, 200)
  },
)

withKine(
  "a kubelet's certificate gets no new one without its Node, nor one for another name; the rest stays open to it",
  async () => {
    await startOnce()
    const { files, url } = simulator
    const authority = { certificate: files.ClientCA as string, key: files.ClientCAKey as string }
    const client = await makeLeaf(
      authority,
      { user: 'system:node:sn-0099', groups: ['system:nodes'] },
      { client: true },
    )
    const byCertificate = { cert: client.certificate, key: client.key }
    const certify = (name: string) =>
      ask(`${url}/v1-k3s/client-kubelet.crt`, {
        ...byCertificate,
        method: 'POST',
        headers: { 'k3s-node-name': name, 'k3s-node-password': password },
        body: request,
      })
    const renamed = (name: string) => captured(name).body.replace('sn-0042', 'sn-0099')
    assert.equal(await certify('sn-0099'), { status: 401, body: renamed('client-kubelet-node-gone') })
    assert.equal(await certify('sn-0100'), { status: 400, body: captured('client-kubelet-other-name').body })
    assert.is((await ask(`${url}/v1-k3s/config`, byCertificate)).status, 200)
    await simulator.store.create(nodes, { apiVersion: 'v1', kind: 'Node', metadata: { name: 'sn-0099' } })
    assert.is((await certify('sn-0099')).status, 200)
  },
)

withKine('an expired token, one of another type, one without its usage: 401 each', async () => {
  await startOnce()
  await addToken('late01', { expiration: new Date(Date.now() - 1_000).toISOString() })
  await addToken('sign01', { 'usage-bootstrap-authentication': 'false' })
  for (const id of ['late01', 'sign01'])
    assert.is((await get('/v1-k3s/config', bearer(`${id}.0123456789abcdef`))).status, 401, id)
})

withKine(
  'a token that was used works for up to ten seconds after its deletion, one that was not does not',
  async () => {
    await startOnce()
    await addToken('used01')
    await addToken('idle01')
    const status = async (id: string) => (await get('/v1-k3s/config', bearer(`${id}.0123456789abcdef`))).status
    assert.is(await status('used01'), 200)
    for (const id of ['used01', 'idle01']) await simulator.store.delete(secrets, `bootstrap-token-${id}`, 'kube-system')
    assert.is(await status('idle01'), 401)
    assert.is(await status('used01'), 200)
    await sleep(10_100)
    assert.is(await status('used01'), 401)
  },
)

withKine('a rotated server token opens the datastore in the place of the old one', async () => {
  const rotated = await startSimulator()
  try {
    const next = 'ef'.repeat(32)
    const authorization = `Basic ${Buffer.from(`server:${rotated.token}`).toString('base64')}`
    const options = { method: 'PUT', headers: { authorization }, body: JSON.stringify({ newToken: next }) }
    assert.is((await ask(`${rotated.url}/v1-k3s/token`, options)).status, 200)
    assert.is((await takeTurn(rotated.kine.client, next, () => {}))?.files.ServerCA, rotated.files.ServerCA)
    assert.is(await rotated.kine.client.get(bootstrapKey(rotated.token)), undefined)
  } finally {
    await rotated.stop()
  }
})
