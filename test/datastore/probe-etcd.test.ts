import assert from 'node:assert/strict'
import type { Look } from '../../src/datastore/finding.ts'
import { probeEtcd } from '../../src/datastore/probe-etcd.ts'
import { freePort } from '../../src/postgres/port.ts'
import { makeCa } from '../../src/tls/certificates.ts'
import { suite } from '../suite.ts'
import { type Etcd, hasEtcd, throwawayEtcd } from '../throwaway-etcd.ts'

const test = suite('a look at etcd', { timeout: 60_000 })
let etcd: Etcd | undefined

test.before(async () => {
  if (hasEtcd) etcd = await throwawayEtcd()
})
test.after(() => etcd?.stop())

async function codes(more: Partial<Look> = {}): Promise<string[]> {
  const pair = { certfile: etcd?.client.certificate, keyfile: etcd?.client.key }
  const look = {
    endpoint: etcd?.url ?? '',
    cafile: etcd?.ca,
    ...pair,
    servers: 3,
    bootstrapName: '/bootstrap/own',
    ...more,
  }
  return (await probeEtcd(look)).map(({ severity, code }) => `${severity} ${code}`)
}

test('finds what keeps K3s from coming up', async () => {
  if (!etcd) return
  const alone = { certfile: undefined, keyfile: undefined }
  assert.deepEqual(await codes(alone), ['error client_certificate', 'warning no_client_certificate'])
  assert.deepEqual(await codes({ cafile: (await makeCa(1_795_396_247)).certificate }), ['error untrusted'])
  assert.deepEqual(await codes({ endpoint: `https://127.0.0.1:${await freePort()}` }), ['error refused'])
  assert.deepEqual(await codes({ endpoint: etcd.url.replace('127.0.0.1', 'no-such-host.invalid') }), [
    'error unresolved',
  ])
  assert.deepEqual(await codes({ endpoint: etcd.url.replace('127.0.0.1', 'localhost') }), [])
})

test('looks at every member, and knows that an even number of them is no better', async () => {
  if (!etcd) return
  const endpoint = `${etcd.url},https://127.0.0.1:${await freePort()}`
  assert.deepEqual(await codes({ endpoint }), ['error refused', 'warning even'])
})

test('finds nothing wrong where nothing is, and tells its own cluster from another', async () => {
  if (!etcd) return
  assert.deepEqual(await codes(), [])
  await etcd.put('/bootstrap/own', 'x')
  assert.deepEqual(await codes(), [])
  await etcd.put('/bootstrap/other', 'x')
  assert.deepEqual(await codes(), ['error other_cluster'])
})
