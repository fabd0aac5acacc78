import * as assert from 'uvu/assert'
import { admit, type Candidate } from '../../src/roll/admission.ts'
import { suite } from '../suite.ts'

const test = suite('admission')

const good: Candidate = {
  state: 'registered',
  trusted: true,
  joined: false,
  reenroll: 'approve',
  reenrollGranted: false,
  role: 'agent',
  hostname: 'sn-1',
  cluster: { state: 'up', caHash: 'ab', apiEndpoint: 'https://k3s:6443' },
  serverTaken: false,
}

const code = (change: Partial<Candidate>) => {
  try {
    admit({ ...good, ...change })
    return 'admitted'
  } catch (error) {
    return (error as { code: string }).code
  }
}

test('refuses each obstacle by its own code', () => {
  const cluster = good.cluster as NonNullable<Candidate['cluster']>
  assert.is(code({ state: 'revoked' }), 'device_revoked')
  assert.is(code({ state: 'retired' }), 'device_retired')
  assert.is(code({ state: 'pending' }), 'pending_approval')
  assert.is(code({ trusted: false }), 'trust_too_low')
  assert.is(code({ joined: true }), 'reenroll_denied')
  assert.is(code({ joined: true, reenroll: 'never', reenrollGranted: true }), 'reenroll_denied')
  assert.is(code({ cluster: null }), 'cluster_not_ready')
  assert.is(code({ cluster: { ...cluster, apiEndpoint: null } }), 'cluster_not_ready')
  assert.is(code({ cluster: { ...cluster, caHash: null } }), 'cluster_not_ready')
  assert.is(code({ role: 'server', cluster: { ...cluster, state: 'compromised' } }), 'cluster_not_ready')
  assert.is(code({ cluster: { ...cluster, state: 'stuck' } }), 'cluster_not_ready')
  assert.is(code({ role: 'server', serverTaken: true }), 'state_conflict')
})

test('says the first obstacle of several, in the order of the protocol', () => {
  const all: Partial<Candidate> = { state: 'revoked', trusted: false, joined: true, cluster: null }
  assert.is(code(all), 'device_revoked')
  assert.is(code({ ...all, state: 'ready' }), 'trust_too_low')
  assert.is(code({ ...all, state: 'ready', trusted: true }), 'reenroll_denied')
  assert.is(code({ ...all, state: 'ready', trusted: true, joined: false }), 'cluster_not_ready')
})

test('lets in whom nothing holds back', () => {
  assert.is(code({}), 'admitted')
  assert.is(code({ state: 'installing' }), 'admitted')
  assert.is(code({ joined: true, reenroll: 'always' }), 'admitted')
  assert.is(code({ joined: true, reenrollGranted: true }), 'admitted')
  assert.is(code({ role: 'server', cluster: { state: 'virgin', caHash: null, apiEndpoint: null } }), 'admitted')
  // It gets its document and waits at redeem.
  assert.is(code({ role: 'server', cluster: { state: 'stuck', caHash: null, apiEndpoint: null } }), 'admitted')
})
