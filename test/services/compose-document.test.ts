import * as assert from 'uvu/assert'
import YAML from 'yaml'
import type { ManagedDatastore } from '../../src/datastore/managed.ts'
import { lintTemplate } from '../../src/documents/lint.ts'
import { redactBody } from '../../src/documents/redact.ts'
import { loginPassword, loginRole } from '../../src/k3s/datastore-names.ts'
import { builtinTemplates } from '../../src/services/builtin-templates.ts'
import { composer, documentComposer } from '../../src/services/compose-document.ts'
import { documents, partsOf, settings } from '../documents/parts.ts'
import { suite } from '../suite.ts'

const code = (expected: string) => (e: { code?: string }) => e.code === expected
const server = partsOf('builtin:debian', 'server')
const agent = partsOf('builtin:debian', 'agent')

const test = suite('composing documents')

test('state_conflict for an agent of a cluster without api_endpoint', () => {
  const cluster = { ...agent.cluster, apiEndpoint: null }
  assert.throws(() => documents.compose({ ...agent, cluster }), code('state_conflict'))
})

test('state_conflict for a version without hashes, unless unpinned code was allowed', () => {
  const cluster = { ...server.cluster, pinned: undefined }
  assert.throws(() => documents.compose({ ...server, cluster }), code('state_conflict'))
  const { input } = documents.compose({ ...server, cluster: { ...cluster, allowUnpinned: true } })
  assert.is(input.k3s.install.script_sha256, '')
})

test('state_conflict for an Ignition document whose architecture has no binary on record', () => {
  const parts = partsOf('builtin:fcos', 'server')
  const device = { ...parts.device, vars: { arch: 'arm' } }
  assert.throws(() => documents.compose({ ...parts, device }), code('state_conflict'))
})

test('internal for a template that does not render: the device can do nothing about it', () => {
  const parts = partsOf({ source: '#cloud-config\nhostname: {{yaml vars.nope}}\n' }, 'agent')
  assert.throws(() => documents.compose(parts), code('internal'))
})

test('state_conflict for a runtime that there is none of', () => {
  const device = { ...server.device, vars: { runtime: 'vm' } }
  assert.throws(() => documents.compose({ ...server, device }), code('state_conflict'))
})

test('gives an own template all that runs K3s in a container, the same container and nothing secret', () => {
  const forms = ['docker_run', 'compose', 'quadlet', 'docker_unit', 'podman_unit'] as const
  const files = forms.map((form) => `  - {path: /${form}, content: {{yaml k3s.container.${form}}} }\n`).join('')
  const source = `#cloud-config\nhostname: {{yaml device.hostname}}\n{{#if k3s.container}}\nwrite_files:\n${files}{{/if}}\n`
  const parts = partsOf({ source }, 'server')
  assert.equal(lintTemplate(parts.profile.spec, builtinTemplates()), [])
  const image = `docker.io/rancher/k3s:v1.36.3-k3s1@sha256:${'d4'.repeat(32)}`
  const { rendered } = documents.compose({
    ...parts,
    device: { ...parts.device, vars: { runtime: 'container', image } },
  })
  const written = YAML.parse(rendered.body).write_files as { path: string; content: string }[]
  assert.is(written.length, forms.length)
  for (const { path, content } of written) {
    for (const part of [image, '/etc/rancher:/etc/rancher', '/var/lib/rancher/k3s:/var/lib/rancher/k3s'])
      assert.ok(content.includes(part), `${path}: ${part}`)
    assert.not.match(content, /password|token|p%40ss|join-ticket|node-credential/i, path)
  }
})

test("gives a device's vars precedence over the profile's", () => {
  const parts = partsOf('builtin:debian', 'agent')
  const spec = { ...parts.profile.spec, vars: { a: 'profile', b: 'profile' } }
  const device = { ...parts.device, vars: { b: 'device' } }
  const input = documents.input({ ...parts, profile: { ...parts.profile, spec }, device })
  assert.equal(input.vars, { a: 'profile', b: 'device' })
})

test('tells an agent where to join and the settings that it knows, and nothing of the datastore', () => {
  const { k3s, secret } = documents.input(agent)
  assert.is(
    k3s.config,
    `node-name: "c02-7-42"
token-file: "/etc/rancher/k3s/token"
server: "https://k3s.site-a.example.net:6443"
protect-kernel-defaults: "true"
selinux: "true"
kubelet-arg:
  - "max-pods=64"
`,
  )
  assert.equal(k3s.files, [])
  assert.is(k3s.token, agent.enrollment.join)
  assert.is(secret.join + secret.node, '')
})

test("puts the endpoint's host into tls-san, once, and leaves SQLite without a datastore", () => {
  const cluster = {
    ...server.cluster,
    datastore: { kind: 'sqlite' as const },
    settings: {},
    tlsSans: ['k3s.site-a.example.net'],
  }
  const { k3s } = documents.input({ ...server, cluster })
  assert.is(
    k3s.config,
    'node-name: "c02-7-42"\ntoken-file: "/etc/rancher/k3s/token"\ntls-san:\n  - "k3s.site-a.example.net"\n',
  )
})

const managed = { address: 'db.example.net', ca: 'the CA\n' } as ManagedDatastore
const keys = { nonce: new Uint8Array(32), nodePassword: new Uint8Array(32).fill(5) }
const enrollment = { ...server.enrollment, id: 'enr_06e9k2m4x2abcdefghjkmnpqrs' }
const onManaged = (parts: typeof server) => ({
  ...parts,
  enrollment,
  cluster: { ...parts.cluster, datastore: { kind: 'managed' as const }, settings: {}, tlsSans: [] },
})

test('datastore_unavailable for a server of a managed cluster, where no managed datastore is configured', () => {
  assert.throws(() => documents.compose(onManaged(server)), code('datastore_unavailable'))
})

test('gives a server of a managed cluster a login of its own, which the copy that is kept does not show', () => {
  const composed = documentComposer({ settings, keys, managed }, builtinTemplates())
  const { input, rendered } = composed.compose(onManaged(server))
  const password = loginPassword(keys.nodePassword, enrollment.id)
  const endpoint = `postgres://${loginRole(enrollment.id)}:${password}@db.example.net:5432/rollcall_k3s?sslmode=verify-full`
  assert.is(
    input.k3s.config,
    `node-name: "c02-7-42"
datastore-endpoint: "${endpoint}"
token-file: "/etc/rancher/k3s/token"
tls-san:
  - "k3s.site-a.example.net"
datastore-cafile: "/etc/rancher/k3s/datastore-ca.pem"
`,
  )
  assert.equal(input.k3s.files, [
    { path: '/etc/rancher/k3s/datastore-ca.pem', content: 'the CA\n' },
    { path: '/etc/rollcall/k3s.env', content: 'KINE_DATASTORE_MAX_OPEN_CONNECTIONS="30"\n' },
  ])
  assert.equal(input.k3s.env, { KINE_DATASTORE_MAX_OPEN_CONNECTIONS: '30' })
  assert.is(rendered.body.includes(endpoint), true)
  assert.is(composed.compose(onManaged(server)).rendered.body, rendered.body)
  const kept = redactBody(input, rendered.body)
  assert.match(kept as string, 'datastore-endpoint: "<datastore endpoint>"')
  assert.is(kept?.includes(password), false)
  assert.match(composed.previewInput(onManaged(server)).k3s.config, 'datastore-endpoint: "<datastore endpoint>"')
})

test('takes the password out of a copy whose template took the endpoint apart', () => {
  const composed = documentComposer({ settings, keys, managed }, builtinTemplates())
  const password = loginPassword(keys.nodePassword, enrollment.id)
  const { input } = composed.compose(onManaged(server))
  assert.is(redactBody(input, `only: ${password}`), 'only: <datastore password>')
  assert.is(redactBody(input, `encoded: ${Buffer.from(password).toString('base64')}`), undefined)
})

test('gives an agent of a managed cluster nothing of its datastore', () => {
  const { k3s } = documentComposer({ settings, keys, managed }, builtinTemplates()).input(onManaged(agent))
  assert.is(/datastore/.test(k3s.config), false)
  assert.equal([k3s.files, k3s.env], [[], {}])
})

test('sees at once what changed in a cluster that was read again', () => {
  const before = documents.input(server).k3s.install.binaries.length
  const cluster = { ...server.cluster, allowUnpinned: true }
  assert.is(documents.input({ ...server, cluster }).k3s.install.binaries.length, before + 1)
})

test('gives the same bytes for the same enrollment, others for another', () => {
  const { rendered } = documents.compose(server)
  assert.is(documents.compose(server).rendered.body, rendered.body)
  const other = { ...server, enrollment: { ...server.enrollment, join: 'another-ticket' } }
  assert.is.not(documents.compose(other).rendered.body, rendered.body)
})

test("brings the node's real script, whole", () => {
  const real = builtinTemplates()
  const compose = composer({ settings, keys: { nonce: new Uint8Array(32), nodePassword: new Uint8Array(32) } }, real)
  const { rendered } = compose({ ...server, profile: { ...server.profile, id: 'prf_real' } })
  const script = (real.files['rollcall-node.sh'] as string).replace(/^(?=[^\n])/gm, '    ')
  assert.ok(rendered.body.includes(script))
})
