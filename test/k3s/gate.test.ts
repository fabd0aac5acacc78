import * as assert from 'uvu/assert'
import { type Decision, type GateView, gate, type Progress } from '../../src/k3s/gate.ts'
import { suite } from '../suite.ts'

const test = suite('the gate of a cluster')

const now = 1_795_396_247
const kinds = ['sqlite', 'postgres', 'mysql', 'etcd', 'embedded-etcd', 'managed'] as const
const held = (deviceId: string, left = 100, used = true) => ({
  deviceId,
  serial: `SN-${deviceId}`,
  until: now + left,
  used,
})
const view = (change: Partial<GateView> = {}): GateView => ({
  state: 'virgin',
  datastore: 'postgres',
  caHashKnown: false,
  lease: null,
  open: [],
  begun: false,
  former: 'none',
  ...change,
})
const ask = (change: Partial<GateView>, progress: Partial<Progress> = {}, at = now): Decision =>
  gate(view(change), 'a', at, { bootstrap: undefined, leased: false, ...progress })
const what = (decision: Decision) => (decision.do === 'go' ? `go ${decision.start}` : decision.do)

test('lets nobody into a compromised cluster, whoever holds what', () => {
  for (const datastore of kinds) {
    const decision = ask({ datastore, state: 'compromised', lease: held('a'), caHashKnown: true })
    assert.is(
      decision.do === 'wait' && decision.why,
      'the cluster is marked compromised; no server is let in until it is rotated',
    )
  }
})

test('lets nobody into a stuck cluster but the one whose turn it still is, and that one never on a managed datastore', () => {
  const stuck = { state: 'stuck', lease: held('a', -1) } as const
  assert.is(what(ask(stuck)), 'lease')
  assert.is(what(ask({ ...stuck, lease: held('b', -1) })), 'wait')
  assert.is(what(ask({ ...stuck, caHashKnown: true })), 'wait')
  assert.is(what(ask({ ...stuck, datastore: 'managed' })), 'wait')
})

test('makes the others wait until the first one’s time is up, to the second', () => {
  for (const datastore of kinds) {
    const progress = { bootstrap: 'locked' } as const
    assert.is(what(ask({ datastore, state: 'initializing', lease: held('b', 1) }, progress)), 'wait')
    const late = what(ask({ datastore, state: 'initializing', lease: held('b', 0) }, progress))
    assert.is(late, datastore === 'managed' || datastore === 'sqlite' ? 'lease' : 'stick', datastore)
  }
})

test('passes the turn on where its holder was never given the token to start with', () => {
  for (const datastore of ['postgres', 'mysql', 'etcd', 'embedded-etcd'] as const) {
    assert.is(what(ask({ datastore, state: 'initializing', lease: held('b', 1, false) })), 'wait')
    assert.is(what(ask({ datastore, state: 'initializing', lease: held('b', 0, false) })), 'lease')
  }
})

test('says who is missing, since when, and what to do, where nobody can be fenced off', () => {
  const decision = ask({ state: 'initializing', lease: held('b', -60) })
  const reason = decision.do === 'stick' ? decision.reason : ''
  for (const part of ['SN-b', new Date((now - 60) * 1000).toISOString(), 'postgres', 'release-initializer'])
    assert.match(reason, part)
})

test('waits for the word of a server that has joined, rather than begin a cluster that has begun', () => {
  assert.is(what(ask({ begun: true })), 'wait')
  assert.is(what(ask({ begun: true, datastore: 'managed' }, { bootstrap: 'virgin' })), 'wait')
})

test('opens when the cluster is up, to anybody', () => {
  for (const datastore of kinds) assert.is(what(ask({ datastore, state: 'up', caHashKnown: true })), 'go join')
})

test('has the former self of an etcd member removed first', () => {
  const up = { datastore: 'embedded-etcd', state: 'up', caHashKnown: true } as const
  assert.is(what(ask({ ...up, former: 'member' })), 'remove')
  assert.is(what(ask({ ...up, former: 'leaving' })), 'wait')
})

test('gives the first server the lease, then lets it begin; each time it asks it renews', () => {
  for (const datastore of kinds) {
    const seen = { bootstrap: 'virgin' } as const
    assert.is(what(ask({ datastore }, seen)), 'lease')
    const mine = { datastore, state: 'initializing', lease: held('a') } as const
    assert.is(what(ask(mine, seen)), 'lease')
    assert.is(what(ask(mine, { ...seen, leased: true })), 'go init')
  }
})

test('reads a managed datastore before it decides, and believes it rather than any lease', () => {
  assert.is(what(ask({ datastore: 'managed', lease: held('b') })), 'read')
  assert.is(what(ask({ datastore: 'managed', lease: held('b') }, { bootstrap: 'ready' })), 'learn')
})

test('fences whoever may still write before the turn is used, and looks at the datastore again', () => {
  const mine = { datastore: 'managed', state: 'initializing', lease: held('a'), open: ['e1', 'e2'] } as const
  assert.equal(ask(mine, { bootstrap: 'locked', leased: true }), { do: 'fence', enrollments: ['e1', 'e2'] })
  assert.is(what(ask({ ...mine, open: [] }, { leased: true })), 'read')
})
