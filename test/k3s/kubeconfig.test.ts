import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import YAML from 'yaml'
import { rewriteKubeconfig } from '../../src/k3s/kubeconfig.ts'
import { makeCa } from '../../src/tls/certificates.ts'
import { suite } from '../suite.ts'

const test = suite('kubeconfigs')
const { certificate } = await makeCa(1_795_396_247)
const expected = createHash('sha256').update(certificate).digest('hex')
const base64 = (text: string) => Buffer.from(text).toString('base64')
const as = { name: 'site-a', server: 'https://k3s.site-a.example:6443', expected }

/** As K3s writes it to /etc/rancher/k3s/k3s.yaml. */
const uploaded = (user: Record<string, unknown> = {}, cluster: Record<string, unknown> = {}) =>
  YAML.stringify({
    apiVersion: 'v1',
    clusters: [
      {
        cluster: { 'certificate-authority-data': base64(certificate), server: 'https://127.0.0.1:6443', ...cluster },
        name: 'default',
      },
    ],
    contexts: [{ context: { cluster: 'default', user: 'default' }, name: 'default' }],
    'current-context': 'default',
    kind: 'Config',
    preferences: {},
    users: [
      {
        name: 'default',
        user: {
          'client-certificate-data': base64('the certificate'),
          'client-key-data': base64('the private key'),
          ...user,
        },
      },
    ],
  })

test('gives out nothing of what is no kubeconfig', () => {
  const texts = ['', 'x', '{}', '[]', 'clusters: 1', '- - -', '&a [*a]', uploaded({ 'client-key-data': 'no base64!' })]
  for (const text of texts) {
    assert.deepEqual(rewriteKubeconfig(text, as), { problem: 'what a server uploaded is no kubeconfig of K3s' })
  }
})

test('gives out nothing with another CA than the cluster has', () => {
  const other = { ...as, expected: 'ab'.repeat(32) }
  assert.deepEqual(rewriteKubeconfig(uploaded(), other), {
    problem: 'what a server uploaded has another CA than the cluster',
  })
  const noCa = uploaded({}, { 'certificate-authority-data': base64('not a certificate') })
  assert.match((rewriteKubeconfig(noCa, as) as { problem: string }).problem, /another CA/)
})

test('keeps the name a text, whatever YAML would take it for', () => {
  for (const name of ['123', '1e3', '0x1f', 'null', 'true', 'no']) {
    const { text } = rewriteKubeconfig(uploaded(), { ...as, name }) as { text: string }
    assert.deepEqual(YAML.parse(text, { version: '1.1' })['current-context'], name)
  }
})

test('leads to the load balancer, under the name of the cluster', () => {
  const { text } = rewriteKubeconfig(uploaded(), as) as { text: string }
  assert.deepEqual(YAML.parse(text), {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'site-a', cluster: { server: as.server, 'certificate-authority-data': base64(certificate) } }],
    users: [
      {
        name: 'site-a',
        user: { 'client-certificate-data': base64('the certificate'), 'client-key-data': base64('the private key') },
      },
    ],
    contexts: [{ name: 'site-a', context: { cluster: 'site-a', user: 'site-a' } }],
    'current-context': 'site-a',
  })
})

test('never hands on a program that kubectl would run, nor any other member', () => {
  const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: 'rm', args: ['-rf', '/'] }
  const hostile = uploaded({
    exec,
    'auth-provider': { name: 'gcp', config: { 'cmd-path': 'sh' } },
    tokenFile: '/etc/shadow',
  })
  assert.deepEqual(rewriteKubeconfig(hostile, as), rewriteKubeconfig(uploaded(), as))
  const cluster = uploaded({}, { 'insecure-skip-tls-verify': true, 'proxy-url': 'http://thief.example' })
  assert.deepEqual(rewriteKubeconfig(cluster, as), rewriteKubeconfig(uploaded(), as))
})
