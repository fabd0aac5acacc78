import * as assert from 'uvu/assert'
import { checkSettings } from '../../src/k3s/settings.ts'
import { suite } from '../suite.ts'

const why = (settings: Record<string, unknown>) =>
  checkSettings(settings)
    .map(({ path, reason }) => `${path}: ${reason}`)
    .join('; ')

const test = suite('cluster settings')

test('refuses what K3s does not know', () => {
  assert.match(why({ 'disable-traefik': true }), /^settings.disable-traefik: is no server setting/)
  for (const key of ['__proto__', 'constructor', 'toString']) {
    assert.match(why(Object.fromEntries([[key, 'x']])), /is no server setting/, key)
  }
})

test('refuses what belongs to one node', () => {
  for (const key of ['node-name', 'node-label', 'node-ip', 'with-node-id'])
    assert.match(why({ [key]: 'x' }), /one node/, key)
})

test('refuses what holds a secret', () => {
  for (const key of ['token', 'agent-token', 'etcd-s3-secret-key']) assert.match(why({ [key]: 'x' }), /secret/, key)
})

test('refuses what Rollcall writes itself', () => {
  for (const key of ['server', 'token-file', 'tls-san', 'data-dir', 'cluster-init']) {
    assert.match(why({ [key]: 'x' }), /written by Rollcall/, key)
  }
})

test('refuses a value of the wrong kind', () => {
  assert.match(why({ 'secrets-encryption': 'true' }), /true or false/)
  assert.match(why({ 'flannel-backend': ['vxlan'] }), /must be a string/)
  assert.match(why({ disable: 'traefik' }), /list of strings/)
  assert.match(why({ disable: ['traefik', 1] }), /list of strings/)
})

test('refuses what is not printable ASCII', () => {
  for (const text of ['', 'a\nb', 'ä', '\u0000', 'x'.repeat(4_097)]) {
    assert.match(why({ 'cluster-domain': text }), /printable/, JSON.stringify(text).slice(0, 20))
    assert.match(why({ disable: [text] }), /printable/)
  }
})

test('tells everything at once', () => {
  assert.is(checkSettings({ token: 'x', nope: 1, disable: true }).length, 3)
})

test('takes booleans, strings and lists', () => {
  const settings = {
    'secrets-encryption': true,
    'flannel-backend': 'wireguard-native',
    disable: ['traefik'],
    'kube-apiserver-arg': ['audit-log-path=/var/log/a "b" \'c\' $d %e'],
  }
  assert.equal(checkSettings(settings), [])
})
