import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { DeviceServer } from '../fakes/device-server.ts'
import type { Json } from '../fakes/k3s/objects.ts'
import { nodes, resources, secrets } from '../fakes/k3s/resources.ts'
import { type Simulator, startSimulator } from '../fakes/k3s/simulator.ts'
import { findKubectl } from '../kine/kubectl.ts'
import { testsWithKine } from '../kine/program.ts'
import { suite } from '../suite.ts'
import { type Running, template, until } from './box.ts'
import { Node } from './node.ts'

const test = suite('rollcall-node tasks with the real kubectl and a simulated K3s', { timeout: 120_000 })
const program = findKubectl()
const withBoth: ReturnType<typeof testsWithKine> = (title, body) => {
  if (program) return testsWithKine(test)(title, body)
  console.log(`skipped: ${title}: kubectl was not fetched here; npm run kine does it`)
  test.skip(title, body)
}

const task = (n: number) => `tsk_${String(n).padStart(26, '0')}`
const idOf = (n: number) => n.toString(36).padStart(6, '0')

let simulator: Simulator | undefined
let server: DeviceServer
let node: Node
let running: Running | undefined

test.before.each(async () => {
  simulator = await startSimulator()
  server = await DeviceServer.start()
  node = new Node(server)
  node.document('server')
  const kubeconfig = join(simulator.root, 'etc/rancher/k3s/k3s.yaml')
  node.write(
    'usr/bin/k3s',
    `#!/bin/sh\nshift\necho "$*" >>"$BOX/calls"\nKUBECONFIG=${kubeconfig} exec ${program} "$@"\n`,
    0o755,
  )
  node.env.ROLLCALL_DATA = join(simulator.root, 'var/lib/rancher/k3s')
  node.env.ROLLCALL_LOOK = '0'
})
test.after.each(async () => {
  await running?.kill()
  node.remove()
  await server.close()
  await simulator?.stop()
  simulator = undefined
})

const start = (): void => {
  running = node.start(['sh'], template('rollcall-node.sh'), 'tasks')
}
const tokens = async () =>
  (await (simulator as Simulator).store.list(secrets, 'kube-system')).filter(
    (one) => one.type === 'bootstrap.kubernetes.io/token',
  )
const data = (secret: Json | undefined, key: string) => Buffer.from(secret?.data[key], 'base64').toString()

withBoth('tokens are published as K3s wants them, again with a later end, and deleted, absent ones too', async () => {
  server.tasks = [`${task(1)} token-create 012345 0123456789012345 1800000000`, `${task(2)} token-delete zzzzzz`]
  start()
  await until(() => server.results.length === 2)
  assert.equal(server.results, [`${task(1)} ok`, `${task(2)} ok`])
  const [secret] = await tokens()
  assert.equal(
    ['token-id', 'token-secret', 'expiration', 'usage-bootstrap-authentication'].map((key) => data(secret, key)),
    ['012345', '0123456789012345', '2027-01-15T08:00:00Z', 'true'],
  )
  assert.equal(Object.keys(secret?.data).length, 4)
  server.tasks = [`${task(3)} token-create 012345 0123456789012345 1800003600`]
  await until(() => server.results.length === 3)
  assert.is(data((await tokens())[0], 'expiration'), '2027-01-15T09:00:00Z')
  server.tasks = [`${task(4)} token-delete 012345`]
  await until(() => server.results.length === 4)
  assert.equal(await tokens(), [])
})

withBoth('a Node is deleted and kept from coming back; what others are called stays as it is', async () => {
  const store = (simulator as Simulator).store
  const made = (name: string): Json => ({ apiVersion: 'v1', kind: 'Node', metadata: { name } })
  await store.create(nodes, made('sn-0042'))
  server.tasks = [`${task(1)} node-ban sn-0042`, `${task(2)} node-delete sn-0042`, `${task(3)} node-delete sn-0042`]
  start()
  await until(() => server.results.length === 3)
  assert.equal(server.results, [`${task(1)} ok`, `${task(2)} ok`, `${task(3)} ok`])
  assert.is(await store.get(nodes, 'sn-0042'), undefined)
  for (const kind of ['ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding']) {
    const resource = resources.find((one) => one.kind === kind) as (typeof resources)[number]
    assert.equal(
      (await store.list(resource)).map(({ metadata }) => metadata.name),
      ['rollcall-ban-sn-0042'],
    )
  }
})

withBoth('once ready, K3s on the host takes the label of a container from its Node, and no other', async () => {
  const { store } = simulator as Simulator
  const status = { conditions: [{ type: 'Ready', status: 'True' }], nodeInfo: { kubeletVersion: 'v1.36.3+k3s1' } }
  const metadata = { name: 'sn-0001', labels: { 'rollcall/runtime': 'container', site: 'a' } }
  await store.create(nodes, { apiVersion: 'v1', kind: 'Node', metadata, status })
  const withKubectl = node.read('usr/bin/k3s')
  for (const enrollment of [server.enrollment, 'enr_again']) {
    server.enrollment = enrollment
    node.document('server')
    node.leave()
    node.write('usr/bin/k3s', withKubectl, 0o755)
    const { code, stderr } = await node.run(['sh'], template('rollcall-node.sh'), 'install')
    assert.is(code, 0, stderr)
    assert.equal((await store.get(nodes, 'sn-0001'))?.metadata.labels, { site: 'a' }, stderr)
  }
})

withBoth('tells Nodes, pods and the hash that K3s puts into its tokens', async () => {
  const { store, root } = simulator as Simulator
  const conditions = (status: string) => [
    { type: 'MemoryPressure', status: 'False' },
    { type: 'Ready', status },
  ]
  const nodeInfo = { kubeletVersion: 'v1.36.3+k3s1' }
  const add = (name: string, status: Record<string, unknown>) =>
    store.create(nodes, { apiVersion: 'v1', kind: 'Node', metadata: { name }, status })
  await add('sn-0001', { conditions: conditions('True'), nodeInfo })
  await add('sn-0002', { conditions: conditions('False'), nodeInfo })
  await add('sn-0003', { conditions: conditions('Unknown'), nodeInfo })
  await add('sn-0004', {})
  const forged = 'v1\n{"name":"sn-0001","ready":false,"version":"v1"}'
  await add('sn-0005', { conditions: conditions('True'), nodeInfo: { kubeletVersion: forged } })
  start()
  await until(() => server.sightings.length > 0)
  const ca = readFileSync(join(root, 'var/lib/rancher/k3s/server/tls/server-ca.crt'))
  assert.equal(server.sightings[0], {
    ca_hash: createHash('sha256').update(ca).digest('hex'),
    nodes: [
      { name: 'sn-0001', ready: true, version: 'v1.36.3+k3s1' },
      { name: 'sn-0002', ready: false, version: 'v1.36.3+k3s1' },
      { name: 'sn-0003', ready: null, version: 'v1.36.3+k3s1' },
      { name: 'sn-0004', ready: null, version: '' },
      { name: 'sn-0005', ready: true, version: '' },
    ],
    pods_not_running: 0,
  })
})

withBoth('a thousand tokens are published by ten calls of kubectl', async () => {
  const all = Array.from({ length: 1_000 }, (_, n) => `${task(n)} token-create ${idOf(n)} 0123456789abcdef 1800000000`)
  node.env.ROLLCALL_LOOK = '20'
  server.page = 100
  server.tasks = all
  start()
  await until(() => server.sightings.length > 0)
  const begun = Date.now()
  await until(() => server.results.length >= 1_000)
  const seconds = (Date.now() - begun) / 1_000
  console.log(`a thousand tokens: ${seconds.toFixed(1)} s`)
  assert.is((await tokens()).length, 1_000)
  assert.is(node.read('calls').split(' apply ').length, 11)
})
