import * as assert from 'uvu/assert'
import { type CaHashView, judgeCaHash } from '../../src/k3s/ca-hash-verdict.ts'
import { suite } from '../suite.ts'

const test = suite('CA hash of a cluster')

const [one, two] = ['11'.repeat(32), '22'.repeat(32)] as const
const view = (change: Partial<CaHashView> = {}): CaHashView => ({
  state: 'initializing',
  datastore: 'postgres',
  bootstrap: null,
  caHash: null,
  caHashFrom: null,
  confirmed: false,
  initializer: 'dev_a',
  stuckReason: null,
  ...change,
})
const by = (deviceId: string, caHash: string = one) => ({ caHash, from: { deviceId } })
const datastore = (caHash: string = one) => ({ caHash, from: 'datastore' as const })

test('does not hear a server that cannot know it yet', () => {
  assert.is(judgeCaHash(view(), by('dev_b')).kind, 'unheard')
})

test('stops the line at another hash, once, and says who said what', () => {
  const up = view({ state: 'up', caHash: one, caHashFrom: 'dev_a', initializer: null })
  const verdict = judgeCaHash(up, by('dev_b', two))
  assert.is(verdict.kind, 'differs')
  if (verdict.kind !== 'differs') return
  assert.ok(verdict.stuck)
  for (const part of [one, two, 'dev_a', 'dev_b']) assert.match(verdict.reason, part)
  const stuck = { ...up, state: 'stuck' as const, stuckReason: verdict.reason }
  assert.equal(judgeCaHash(stuck, by('dev_b', two)), { kind: 'known' })
  assert.equal(judgeCaHash(stuck, by('dev_b', '33'.repeat(32))), { kind: 'known' })
})

test('leaves a compromised cluster compromised, whatever is said', () => {
  const view0 = view({ state: 'compromised', caHash: one, caHashFrom: 'admin' })
  const verdict = judgeCaHash(view0, by('dev_b', two))
  assert.equal(verdict.kind === 'differs' && verdict.stuck, false)
  assert.equal(judgeCaHash(view({ state: 'compromised', initializer: null }), datastore()), {
    kind: 'learned',
    from: 'datastore',
    up: false,
  })
})

test('brings a cluster up by the word of its first server', () => {
  for (const state of ['virgin', 'initializing', 'stuck'] as const) {
    assert.equal(judgeCaHash(view({ state }), by('dev_a')), { kind: 'learned', from: 'dev_a', up: true })
  }
  assert.equal(judgeCaHash(view({ initializer: null }), by('dev_b')), { kind: 'learned', from: 'dev_b', up: true })
})

test('believes on a managed datastore only what its bootstrap row bears out', () => {
  const managed = view({ datastore: 'managed', bootstrap: 'locked' })
  assert.equal(judgeCaHash(managed, by('dev_a')), { kind: 'learned', from: 'dev_a', up: false })
  assert.equal(judgeCaHash(managed, datastore()), { kind: 'learned', from: 'datastore', up: true })
  assert.equal(judgeCaHash({ ...managed, bootstrap: 'ready' }, by('dev_a')), {
    kind: 'learned',
    from: 'dev_a',
    up: true,
  })
  const said = { ...managed, caHash: one, caHashFrom: 'dev_a' }
  assert.equal(judgeCaHash(said, by('dev_a')), { kind: 'known' })
  assert.equal(judgeCaHash(said, datastore()), { kind: 'confirmed', up: true })
  assert.is(judgeCaHash(said, datastore(two)).kind, 'differs')
})

test('is confirmed by a second source, once', () => {
  const up = view({ state: 'up', caHash: one, caHashFrom: 'dev_a', initializer: null })
  assert.equal(judgeCaHash(up, by('dev_a')), { kind: 'known' })
  assert.equal(judgeCaHash(up, by('dev_b')), { kind: 'confirmed', up: false })
  assert.equal(judgeCaHash({ ...up, caHashFrom: 'admin' }, by('dev_a')), { kind: 'confirmed', up: false })
  assert.equal(judgeCaHash({ ...up, confirmed: true }, by('dev_b')), { kind: 'known' })
})
