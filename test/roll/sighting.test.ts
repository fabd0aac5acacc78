import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import type { EnrolledNode } from '../../src/roll/node-owner.ts'
import {
  compareSighting,
  isNodeName,
  type KnownNode,
  mostStrangers,
  type SeenNode,
  type Sighting,
  type SightingChange,
} from '../../src/roll/sighting.ts'
import { suite } from '../suite.ts'

const test = suite('sighting of Nodes')

const now = 1_000_000
const box: EnrolledNode = {
  enrollmentId: 'enr_1',
  deviceId: 'dev_1',
  hostname: 'box',
  observed: false,
  ready: false,
  joined: false,
  redeemed: false,
  lastStep: null,
  lastResult: null,
  startedAt: now - 100,
  alarmed: false,
}
const settled: EnrolledNode = { ...box, observed: true, ready: true, joined: true }
const node: KnownNode = {
  name: 'box',
  deviceId: 'dev_1',
  enrollmentId: 'enr_1',
  source: 'server',
  ready: true,
  readySince: now - 500,
  version: 'v1.36.3+k3s1',
  firstSeenAt: now - 900,
  seenAt: now - 10,
  goneAt: null,
}
const seen = (...nodes: (Partial<SeenNode> | string)[]): Sighting => ({
  source: 'server',
  at: now,
  complete: true,
  nodes: nodes.map((one) => ({
    name: 'box',
    ready: true,
    version: 'v1.36.3+k3s1',
    ...(typeof one === 'string' ? { name: one } : one),
  })),
})
const move = { enrollmentId: 'enr_1', deviceId: 'dev_1', ready: true, own: true, first: true }
const news = (change: SightingChange | undefined) => change?.news.map(({ name }) => name)

test('writes nothing where nothing changed', () => {
  assert.is(compareSighting(seen('box'), [node], [settled]), undefined)
  assert.is(compareSighting(seen(), [], [box]), undefined)
})

test('does not take the Node of a former life for the new enrollment', () => {
  const again: EnrolledNode = { ...box, enrollmentId: 'enr_2', startedAt: now - 30 }
  assert.is(compareSighting(seen('box'), [node], [again]), undefined)
  assert.is(compareSighting(seen({ seenAt: now - 31 }), [node], [again]), undefined)
  const alive = compareSighting(seen({ seenAt: now - 5 }), [node], [again])
  assert.equal(alive?.moves, [{ ...move, enrollmentId: 'enr_2' }])
  assert.equal(news(alive), ['node.joined', 'node.ready'])
  const late = compareSighting(seen('box'), [node], [{ ...again, startedAt: now - 120 }])
  assert.is(late?.rows[0]?.enrollmentId, 'enr_2')
  const notReady = compareSighting(seen({ ready: null }), [node], [{ ...again, startedAt: now - 120 }])
  assert.equal(notReady?.moves, [])
})

test('takes a Node that was gone and came back for the new enrollment', () => {
  const gone = { ...node, goneAt: now - 50, ready: null }
  const change = compareSighting(
    seen({ ready: false }),
    [gone],
    [{ ...box, enrollmentId: 'enr_2', startedAt: now + 800 }],
  )
  assert.equal(change?.moves, [{ ...move, enrollmentId: 'enr_2', ready: false }])
  assert.is(change?.rows[0]?.firstSeenAt, now)
})

test('shows a Node that no enrollment explains as a stranger, which changes no device', () => {
  const change = compareSighting(seen('other'), [], [box])
  assert.equal(change?.moves, [])
  assert.equal(change?.news, [])
  assert.is(change?.rows[0]?.deviceId, null)
})

test('leaves out names that Kubernetes would not take, and versions that are none', () => {
  const names = ['', 'Box', 'a b', '-a', 'a..b', `${'a'.repeat(254)}`, "x'; drop table nodes; --", '\u202ebox', 'a\0b']
  assert.is(compareSighting(seen(...names), [], [box]), undefined)
  const change = compareSighting(seen({ name: 'n.site-1', version: '<script>\u001b[2J' }), [], [])
  assert.is(change?.rows[0]?.version, null)
})

test('keeps no more strangers than a cluster may have', () => {
  const names = Array.from({ length: mostStrangers + 5 }, (_, i) => `n${i}`)
  assert.is(compareSighting(seen(...names), [], [])?.rows.length, mostStrangers)
  const full = names.slice(0, mostStrangers).map((name) => ({ ...node, name, deviceId: null, enrollmentId: null }))
  const more = compareSighting({ ...seen('box', 'new'), complete: false }, full, [box])
  assert.equal(
    more?.rows.map(({ name }) => name),
    ['box'],
  )
  const gone = full.map((one) => ({ ...one, ready: null, goneAt: now - 50 }))
  assert.is(compareSighting(seen('new'), gone, []), undefined, 'in exchange for others')
  assert.is(compareSighting(seen('n1'), gone, [])?.rows.length, 1, 'one that comes back')
})

test('says when a Node stopped being ready, and since when', () => {
  const change = compareSighting(seen({ ready: null }), [node], [settled])
  assert.equal(news(change), ['node.not_ready'])
  assert.is(change?.rows[0]?.readySince, now)
  assert.equal(change?.moves, [])
})

test('does not fill a timeline while a Node flaps', () => {
  const flapped = { ...node, readySince: now - 20 }
  const change = compareSighting(seen({ ready: false }), [flapped], [settled])
  assert.equal(news(change), [])
  assert.is(change?.rows[0]?.ready, false)
})

test('calls a Node gone only when all were seen', () => {
  assert.is(compareSighting({ ...seen(), complete: false }, [node], [settled]), undefined)
  const change = compareSighting(seen(), [node], [settled])
  assert.equal(news(change), ['node.gone'])
  assert.is(change?.rows[0]?.goneAt, now)
  assert.is(change?.rows[0]?.ready, null)
})

test('believes a server only where what the roll reads itself is stale', () => {
  const read: KnownNode = { ...node, source: 'datastore' }
  assert.is(compareSighting(seen({ ready: false }), [read], [settled]), undefined)
  assert.is(compareSighting(seen(), [read], [settled]), undefined)
  const stale = compareSighting(seen({ ready: false }), [{ ...read, seenAt: now - 300 }], [settled])
  assert.is(stale?.rows[0]?.source, 'server')
})

test('lets what the cluster shows correct what the device had reported', () => {
  const reported = { ...box, ready: true }
  const change = compareSighting(seen({ ready: false }), [], [reported])
  assert.equal(change?.moves, [{ ...move, ready: false }])
})

test('notes now and then that a Node is still there', () => {
  const change = compareSighting(seen('box'), [{ ...node, seenAt: now - 120 }], [settled])
  assert.is(change?.rows.length, 1)
  assert.equal(change?.news, [])
})

// Somebody took its name: what a Node must be to be taken for the device's own.
const foreign: KnownNode = { ...node, deviceId: null, enrollmentId: null }
const doubtful: [string, KnownNode[], Partial<EnrolledNode>][] = [
  ['a Node that was there before', [foreign], { startedAt: now - 200 }],
  ['the Node of another device', [{ ...foreign, deviceId: 'dev_2', enrollmentId: 'enr_9' }], { startedAt: now - 200 }],
  ['a Node that appears while the agent installs', [], { lastStep: 'k3s.install', lastResult: 'ok' }],
  ['a Node that appears while the device updates', [], { lastStep: 'os.update' }],
]
for (const [what, known, more] of doubtful) {
  test(`doubts ${what}: the state moves, and nothing is spent`, () => {
    const one = { ...box, ...more }
    const change = compareSighting(seen('box'), known, [one])
    assert.equal(change?.moves, [{ ...move, own: false, first: false }])
    assert.equal(news(change), ['node.doubted'])
    const rows = change?.rows.length ? change.rows : known
    assert.is.not(rows[0]?.deviceId, 'dev_1')
    const later = { ...one, observed: true, ready: true }
    assert.equal(compareSighting(seen('box'), rows, [later])?.moves ?? [], [], 'once')
    const said = { ...later, lastStep: 'k3s.join', lastResult: 'ok', startedAt: now - 200 }
    const settles = compareSighting(seen('box'), rows, [said])
    assert.equal(settles?.moves, [move], 'the device says that it joined')
    assert.equal(news(settles), ['node.joined', 'node.ready'])
    assert.is(settles?.rows[0]?.deviceId, 'dev_1')
  })
}

test('takes a Node for the device’s own where that could join, whatever reports are lost', () => {
  const own = (one: Partial<EnrolledNode>, more: Partial<Sighting> = {}) =>
    compareSighting({ ...seen('box'), ...more }, [], [{ ...box, ...one }])?.moves[0]?.own
  assert.ok(own({}), 'it never reported')
  assert.ok(own({ lastStep: 'k3s.join', lastResult: 'start' }), 'it is faster than its report')
  assert.ok(own({ lastStep: 'k3s.join', lastResult: 'fail' }), 'it tried again')
  assert.ok(own({ lastStep: 'k3s.ready', lastResult: 'fail' }))
  assert.ok(own({ redeemed: true, lastStep: 'k3s.install', lastResult: 'ok' }), 'it redeemed')
  assert.ok(own({ lastStep: 'k3s.install' }, { teller: 'dev_1' }), 'it tells of it itself')
  const early = { lastStep: 'clock' }
  assert.not(own(early, { teller: 'dev_2' }))
  assert.ok(own(early, { teller: 'dev_1' }))
})

test('makes a doubt an alarm when it lasted a quarter of an hour, once, and while the Node is there', () => {
  const doubted = { ...box, observed: true, ready: true, startedAt: now - 2_000 }
  const alarms = (since: number, one: Partial<EnrolledNode> = {}) =>
    compareSighting(seen('box'), [{ ...foreign, firstSeenAt: since }], [{ ...doubted, ...one }])?.alarms
  assert.equal(alarms(now - 900), ['enr_1'])
  assert.is(alarms(now - 899), undefined)
  assert.is(alarms(now - 2_000, { startedAt: now - 899 }), undefined, 'it has just begun to start K3s')
  assert.is(alarms(now - 900, { alarmed: true }), undefined)
  const gone = compareSighting(seen(), [{ ...foreign, firstSeenAt: now - 900 }], [doubted])
  assert.equal(gone?.alarms, [])
  const back = compareSighting(seen('box'), [{ ...foreign, goneAt: now - 5, ready: null }], [doubted])
  assert.equal(back?.moves, [move], 'deleted, and made anew by the device')
})

const anyNode = fc.record({
  name: fc.oneof(fc.string(), fc.constantFrom('box', 'a', 'b')),
  ready: fc.constantFrom(true, false, null),
  version: fc.oneof(fc.string(), fc.constant(null)),
})

test('comes to rest: what was written once is not written again', () => {
  fc.assert(
    fc.property(fc.array(anyNode, { maxLength: 8 }), fc.boolean(), (nodes, complete) => {
      const sighting: Sighting = { source: 'datastore', nodes, complete, at: now }
      const change = compareSighting(sighting, [{ ...node, name: 'old' }], [settled])
      const known = new Map([['old', { ...node, name: 'old' } as KnownNode]])
      for (const row of change?.rows ?? []) known.set(row.name, row)
      assert.ok([...known.keys()].every(isNodeName))
      assert.is(compareSighting(sighting, [...known.values()], [settled]), undefined)
    }),
  )
})
