import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import YAML from 'yaml'
import { agentSettings, configYaml } from '../../src/k3s/config.ts'
import { checkSettings } from '../../src/k3s/settings.ts'
import { suite } from '../suite.ts'

const internal = (e: { code?: string }) => e.code === 'internal'

const test = suite('config.yaml')

test('refuses a key that kills an agent', () => {
  for (const key of ['tls-san', 'disable', 'datastore-endpoint', 'cluster-cidr', 'secrets-encryption']) {
    assert.throws(() => configYaml('agent', { [key]: 'x' }), internal, key)
  }
})

test("refuses a token in the file, and a server's way to another", () => {
  for (const key of ['token', 'agent-token', 'server'])
    assert.throws(() => configYaml('server', { [key]: 'x' }), internal, key)
  assert.throws(() => configYaml('agent', { token: 'x' }), internal)
})

test('refuses a value that YAML might read otherwise', () => {
  for (const text of ['a\nb', '\u0085', 'ä', '\u2028'])
    assert.throws(() => configYaml('server', { 'node-name': text }), internal)
})

test('refuses a key that is no flag', () => {
  for (const key of ['a: b\nc', 'A', '', '-a']) assert.throws(() => configYaml('server', { [key]: 'x' }), internal)
})

test('gives an agent every setting of the cluster that it knows, and none that would kill it', () => {
  // What `k3s agent --help` of v1.36.3 has of the keys in settings.ts.
  const known = {
    selinux: true,
    'protect-kernel-defaults': true,
    'disable-default-registry-endpoint': true,
    'prefer-bundled-bin': true,
    debug: true,
    'flannel-iface': 'eth1',
    'pause-image': 'example.net/pause:3',
    snapshotter: 'native',
    'resolv-conf': '/etc/resolv.conf',
    'kubelet-arg': ['max-pods=64'],
    'kube-proxy-arg': ['proxy-mode=ipvs'],
  }
  assert.equal(checkSettings(known), [])
  const others = { 'secrets-encryption': true, 'flannel-backend': 'none', disable: ['traefik'] }
  assert.equal(agentSettings({ ...known, ...others }), known)
  assert.match(configYaml('agent', agentSettings({ ...known, ...others })), /^selinux: "true"$/m)
})

test('quotes every scalar, so that each reads back as the text it is', () => {
  assert.is(
    configYaml('server', { 'node-name': '0644', 'secrets-encryption': true, disable: ['traefik', '1e3'] }),
    'node-name: "0644"\nsecrets-encryption: "true"\ndisable:\n  - "traefik"\n  - "1e3"\n',
  )
})

test('reads back, whatever the values hold', () => {
  const text = fc.string({ unit: 'grapheme-ascii' })
  fc.assert(
    fc.property(text, fc.array(text, { minLength: 1 }), (one, many) => {
      const read = YAML.parse(configYaml('server', { 'node-name': one, disable: many }), { version: '1.1' })
      assert.equal(read, { 'node-name': one, disable: many })
    }),
  )
})
