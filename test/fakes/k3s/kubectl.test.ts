import { spawn } from 'node:child_process'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { findKubectl } from '../../kine/kubectl.ts'
import { testsWithKine } from '../../kine/program.ts'
import { suite } from '../../suite.ts'
import { makeLeaf } from './certificates.ts'
import { writeKubeconfig } from './kubeconfig.ts'
import type { Json } from './objects.ts'
import { leases, nodes, secrets } from './resources.ts'
import { type Simulator, startSimulator } from './simulator.ts'

const test = suite('the real kubectl and the K3s simulator', { timeout: 60_000 })
const program = findKubectl()
const withBoth: ReturnType<typeof testsWithKine> = (title, body) => {
  if (program) return testsWithKine(test)(title, body)
  console.log(`skipped: ${title}: kubectl was not fetched here; npm run kine does it`)
  test.skip(title, body)
}

let simulator: Simulator
const startOnce = async () => {
  simulator ??= await startSimulator()
}
test.after(() => simulator?.stop())

type Ended = { code: number | null; out: string; err: string }

function kubectl(
  args: string[],
  input = '',
  kubeconfig = join(simulator.root, 'etc/rancher/k3s/k3s.yaml'),
): Promise<Ended> {
  const env = { PATH: process.env.PATH, KUBECONFIG: kubeconfig, HOME: simulator.root }
  const child = spawn(program as string, args, { env, stdio: ['pipe', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk) => (out += chunk))
  child.stderr.on('data', (chunk) => (err += chunk))
  child.stdin.end(input)
  return new Promise((done) => child.once('close', (code) => done({ code, out, err })))
}

async function passes(args: string[], input?: string): Promise<string> {
  const { code, out, err } = await kubectl(args, input)
  assert.is(code, 0, err)
  return out
}

const token = (id: string, expiration: string) => `---
apiVersion: v1
kind: Secret
metadata: {name: bootstrap-token-${id}, namespace: kube-system}
type: bootstrap.kubernetes.io/token
stringData: {token-id: ${id}, token-secret: 0123456789abcdef, expiration: "${expiration}", usage-bootstrap-authentication: "true"}
`
const node = (name: string): Json => ({ apiVersion: 'v1', kind: 'Node', metadata: { name } })
const ban = (name: string) => `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: ban-${name}}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: ["*"], operations: [CREATE, UPDATE], resources: [nodes, nodes/status]}]
  matchConditions: [{name: banned, expression: "request.userInfo.username == 'system:node:${name}'"}]
  validations: [{expression: "false", message: this node was revoked}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: ban-${name}}
spec: {policyName: ban-${name}, validationActions: [Deny]}
`

/** A kubeconfig as a kubelet has it. */
async function kubeletConfig(name: string): Promise<string> {
  const { files, url, root } = simulator
  const authority = { certificate: files.ClientCA as string, key: files.ClientCAKey as string }
  const client = await makeLeaf(authority, { user: `system:node:${name}`, groups: ['system:nodes'] }, { client: true })
  const file = join(root, `${name}.kubeconfig`)
  writeKubeconfig(file, { url, ca: files.ServerCA as string, client })
  return file
}

withBoth('refuses what nobody asked for with a kubeconfig, and kinds that it does not have', async () => {
  await startOnce()
  assert.match((await kubectl(['get', 'widgets'])).err, "doesn't have a resource type")
  assert.match(
    (await kubectl(['get', 'node', 'sn-none'])).err,
    'Error from server (NotFound): nodes "sn-none" not found',
  )
})

withBoth('applies tokens from standard input, again with a later end, and deletes them', async () => {
  await startOnce()
  assert.match(
    await passes(
      ['apply', '-f', '-'],
      token('abc123', '2027-01-01T00:00:00Z') + token('abc124', '2027-01-01T00:00:00Z'),
    ),
    'created',
  )
  assert.match(await passes(['apply', '-f', '-'], token('abc123', '2027-02-02T00:00:00Z')), 'configured')
  const kept = (await simulator.store.get(secrets, 'bootstrap-token-abc123', 'kube-system')) as Json
  assert.is(Buffer.from(kept.data.expiration, 'base64').toString(), '2027-02-02T00:00:00Z')
  assert.is(kept.stringData, undefined)
  await passes(['-n', 'kube-system', 'delete', 'secret', 'bootstrap-token-abc123', '--ignore-not-found'])
  await passes(['-n', 'kube-system', 'delete', 'secret', 'bootstrap-token-abc123', '--ignore-not-found'])
  assert.is(await simulator.store.get(secrets, 'bootstrap-token-abc123', 'kube-system'), undefined)
})

withBoth('lists nodes and pods as people and programs want them', async () => {
  await startOnce()
  const conditions = [{ type: 'Ready', status: 'True' }]
  await simulator.store.create(nodes, {
    ...node('sn-0001'),
    status: { conditions, nodeInfo: { kubeletVersion: 'v1.36.3+k3s1' } },
  })
  assert.match(
    await passes(['get', 'nodes']),
    /^NAME +STATUS +ROLES +AGE +VERSION\nsn-0001 +Ready +<none> +\d+s +v1\.36\.3\+k3s1\n$/,
  )
  const path = '{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
  assert.is(await passes(['get', 'nodes', '-o', `jsonpath=${path}`]), 'sn-0001 True\n')
  assert.is(await passes(['get', 'pods', '--all-namespaces', '-o', 'name']), '')
})

withBoth('a deleted Node takes its lease along, and a banned one cannot be made again', async () => {
  await startOnce()
  await simulator.store.create(nodes, node('sn-0042'))
  const lease = {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: 'sn-0042', namespace: 'kube-node-lease' },
  }
  await simulator.store.create(leases, {
    ...lease,
    spec: { holderIdentity: 'sn-0042', renewTime: new Date().toISOString() },
  })
  await passes(['delete', 'node', 'sn-0042', '--ignore-not-found'])
  assert.is(await simulator.store.get(leases, 'sn-0042', 'kube-node-lease'), undefined)
  await passes(['apply', '-f', '-'], ban('sn-0042'))
  await passes(['apply', '-f', '-'], ban('sn-0042'))
  const [banned, other] = [await kubeletConfig('sn-0042'), await kubeletConfig('sn-0043')]
  const refused = await kubectl(['create', '-f', '-'], JSON.stringify(node('sn-0042')), banned)
  assert.is(refused.code, 1)
  assert.match(refused.err, 'this node was revoked')
  assert.match((await kubectl(['create', '-f', '-'], JSON.stringify(node('sn-0044')), other)).err, 'Forbidden')
  assert.is((await kubectl(['create', '-f', '-'], JSON.stringify(node('sn-0043')), other)).code, 0)
})

withBoth('a kubelet may not call its Node a server', async () => {
  await startOnce()
  const own = await kubeletConfig('sn-0045')
  const labelled = {
    ...node('sn-0045'),
    metadata: { name: 'sn-0045', labels: { 'node-role.kubernetes.io/control-plane': 'true' } },
  }
  assert.match(
    (await kubectl(['create', '-f', '-'], JSON.stringify(labelled), own)).err,
    'is not allowed to set the following labels: node-role.kubernetes.io/control-plane',
  )
})

withBoth('what rollcall-node calls: server-side apply of many, delete by manifest', async () => {
  await startOnce()
  const apply = [
    'apply',
    '--server-side',
    '--force-conflicts',
    '--field-manager=rollcall',
    '--validate=false',
    '-f',
    '-',
  ]
  const ids = Array.from({ length: 20 }, (_, i) => `batch${(10 + i).toString(36)}`.slice(0, 6))
  const unique = [...new Set(ids)]
  const manifests = unique.map((id) => token(id, '2027-01-01T00:00:00Z')).join('')
  await passes(apply, manifests)
  await passes(apply, manifests)
  await passes(['delete', '--ignore-not-found', '--wait=false', '-f', '-'], manifests)
  assert.is(await simulator.store.get(secrets, `bootstrap-token-${unique[0]}`, 'kube-system'), undefined)
})
