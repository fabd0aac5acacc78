import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import YAML from 'yaml'
import { containerForms, containerText } from '../../src/k3s/container.ts'
import {
  isRunning,
  nodesProblem,
  patience,
  progressOf,
  stuckReason,
  type Upgrade,
  type UpgradeNode,
  UpgradeRequest,
  waitsFor,
} from '../../src/k3s/upgrade.ts'
import { upgradePlan, upgradeWarnings } from '../../src/k3s/upgrade-plan.ts'
import { isInWindow, UpgradeWindow } from '../../src/k3s/upgrade-window.ts'
import { golden } from '../golden.ts'
import { suite } from '../suite.ts'

const test = suite('upgrade of a cluster')
const [from, to] = ['v1.36.2+k3s1', 'v1.36.3+k3s1'] as const
const t0 = 1_795_396_247

function upgrade(change: Record<string, unknown> = {}): Upgrade {
  const { version, replace: _, ...asked } = UpgradeRequest.parse({ version: to, ...change })
  return { ...asked, from, to: version, started_at: t0, reached: 0, reached_at: t0 }
}
const node = (name: string, role: UpgradeNode['role'], version: string | null, ready: boolean | null = true) => ({
  name,
  role,
  version,
  ready,
  inContainer: false,
})
const inContainer = (one: UpgradeNode): UpgradeNode => ({ ...one, inContainer: true })

const pinned = upgrade({ image: `registry.test:5000/k3s-upgrade@sha256:${'0'.repeat(64)}` })

const problem = (...args: Parameters<typeof nodesProblem>) => nodesProblem(...args) ?? ''
const reason = (...args: Parameters<typeof stuckReason>) => stuckReason(...args) ?? ''

for (const [what, change] of [
  ['an image with a space', { image: 'rancher/k3s-upgrade latest' }],
  ['an image that is one word', { image: 'k3s-upgrade' }],
  ['a short digest', { image: 'rancher/k3s-upgrade@sha256:abc' }],
  ['no agent at once', { agents_at_once: 0 }],
  ['a window without days', { window: { days: [], start: '01:00', end: '02:00' } }],
  ['a window with half an hour too many', { window: { days: ['monday'], start: '01:60', end: '02:00' } }],
  [
    'a time zone that is none',
    { window: { days: ['monday'], start: '01:00', end: '02:00', time_zone: 'Mars/Phobos' } },
  ],
  ['a member that is none', { channel: 'stable' }],
] as const) {
  test(`refuses ${what}`, () => {
    assert.is(UpgradeRequest.safeParse({ version: to, ...change }).success, false)
  })
}

test('refuses to take a node that was left behind over a minor, or one that is ahead back', () => {
  assert.match(problem([node('a', 'agent', 'v1.34.1+k3s1')], to), /^a runs v1.34.1\+k3s1: .*skips/)
  assert.match(problem([node('s', null, 'v1.37.0+k3s1')], to), /^s runs v1.37.0\+k3s1: .*older/)
  assert.is(nodesProblem([node('a', 'agent', to), node('b', 'agent', null), node('c', null, 'v1.36.3')], to), undefined)
})

test('nothing is done while nobody has seen a server', () => {
  for (const nodes of [[], [node('a', 'agent', to)]]) {
    const { serversDone, done } = progressOf(to, nodes)
    assert.equal({ serversDone, done }, { serversDone: false, done: false })
  }
})

test('servers are done when each of them, and each stranger, runs it; agents end it', () => {
  const nodes = [node('s1', 'server', to), node('s2', 'server', 'v1.36.3+k3s2'), node('a1', 'agent', from)]
  assert.equal(progressOf(to, nodes), {
    servers: { at: 2, of: 2 },
    agents: { at: 0, of: 1 },
    strangers: { at: 0, of: 0 },
    serversDone: true,
    done: false,
  })
  assert.is(progressOf(to, [...nodes, node('x', null, from)]).serversDone, false)
  assert.is(progressOf(to, [...nodes, node('s3', 'server', null)]).serversDone, false)
  assert.is(progressOf(to, [...nodes.slice(0, 2), node('a1', 'agent', to)]).done, true)
})

test('agents never get a version that a server does not have yet', () => {
  const role = fc.constantFrom('server', 'agent', null)
  const nodes = fc.array(fc.record({ role, version: fc.constantFrom(from, to, null) }))
  fc.assert(
    fc.property(nodes, (some) => {
      const all = some.map((one, i) => node(`n${i}`, one.role as UpgradeNode['role'], one.version))
      const { serversDone, done } = progressOf(to, all)
      const behind = all.some((one) => one.role !== 'agent' && one.version !== to)
      return !(serversDone && behind) && !(done && !serversDone)
    }),
  )
})

test('is stuck after half an hour without another node, and says what to look at', () => {
  const nodes = [node('s1', 'server', from), node('a1', 'agent', from)]
  assert.is(stuckReason(upgrade(), nodes, t0 + patience - 1), undefined)
  assert.match(reason(upgrade(), nodes, t0 + patience), /system-upgrade-controller installed/)
  assert.match(reason(upgrade(), [], t0 + patience), /nobody reports/)
  assert.match(reason(upgrade(), [node('s1', 'server', from, false)], t0 + patience), /not Ready: s1/)
  const later = { ...upgrade(), reached: 1, reached_at: t0 + 600 }
  assert.is(stuckReason(later, nodes, t0 + patience), undefined)
  assert.match(reason(later, nodes, t0 + 600 + patience), /s1 is next/)
})

test('is stuck at K3s in a container, which no plan upgrades, and names it; but not while the plan has a node to go on with', () => {
  const [s1, s2, a1, a2] = [
    node('s1', 'server', from),
    inContainer(node('s2', 'server', from)),
    node('a1', 'agent', from),
    inContainer(node('a2', 'agent', from)),
  ] as const
  const at = { ...upgrade(), reached: 1, reached_at: t0 }
  const after = (...nodes: UpgradeNode[]) => reason(at, nodes, t0 + patience)
  const done = (one: UpgradeNode) => ({ ...one, version: to })
  assert.match(after(s1, s2, a1, a2), /; s1 is next/)
  assert.match(after(done(s1), s2, a1, a2), /minutes: K3s of s2 runs in a container, which no plan upgrades/)
  assert.match(after(done(s1), done(s2), a1, a2), /; a1 is next/)
  assert.match(after(done(s1), done(s2), done(a1), a2), /K3s of a2 runs in a container/)
  assert.match(reason(upgrade(), [s2], t0 + patience), /K3s of s2 runs in a container/)
  assert.match(after(done(s1), { ...s2, ready: false }), /not Ready: s2/)
})

test('outside of its window it waits, and is not stuck', () => {
  const window = UpgradeWindow.parse({ days: ['saturday'], start: '02:00', end: '04:00' })
  const waiting = upgrade({ window })
  // 2026-11-22 is a Sunday.
  assert.is(stuckReason(waiting, [node('s', 'server', from)], t0 + 36_000), undefined)
  assert.is(waitsFor(waiting, t0), 'its window: saturday 02:00-04:00 UTC')
})

test('a window is of the day and the zone in which it is said', () => {
  const at = (text: string) => Date.parse(text) / 1000
  const window = UpgradeWindow.parse({
    days: ['saturday'],
    start: '22:30',
    end: '02:00',
    time_zone: 'Europe/Berlin',
  })
  const expected: [string, boolean][] = [
    ['2026-11-21T21:29:59Z', false],
    ['2026-11-21T21:30:00Z', true],
    // Saturday has ended, in Berlin: kured looks at the day of the moment.
    ['2026-11-21T23:00:00Z', false],
    ['2026-11-20T23:30:00Z', true],
    ['2026-11-21T01:01:00Z', false],
    ['2026-11-21T12:00:00Z', false],
  ]
  for (const [time, inside] of expected) assert.is(isInWindow(window, at(time)), inside, time)
})

test('runs until it is done, called off or replaced', () => {
  assert.is(isRunning(upgrade()), true)
  assert.is(isRunning({ ...upgrade(), done_at: t0 }), false)
  assert.is(isRunning({ ...upgrade(), ended_at: t0 }), false)
  assert.is(isRunning(null), false)
})

test('warns of an image that is named by its tag', () => {
  assert.is(upgradeWarnings(upgrade(), []).length, 1)
  assert.equal(upgradeWarnings(pinned, []), [])
})

test('warns of nodes that the plans pass by, until they run the version', () => {
  const nodes = ['n1', 'n2', 'n3', 'n4', 'n5', 'n6'].map((name) => inContainer(node(name, 'agent', from)))
  const [warning = 'none', ...more] = upgradeWarnings(pinned, [node('s1', 'server', from), ...nodes])
  assert.match(warning, /^K3s of n1, n2, n3, n4, n5 and 1 more runs in a container: .*servers first/)
  assert.equal(more, [])
  assert.equal(upgradeWarnings(pinned, [inContainer(node('s1', 'server', to)), node('s2', 'server', from)]), [])
})

test('no plan takes a node whose K3s runs in a container', () => {
  const label = { key: 'rollcall/runtime', operator: 'NotIn', values: ['container'] }
  for (const plan of YAML.parseAllDocuments(upgradePlan(upgrade())))
    assert.equal(plan.toJS().spec.nodeSelector.matchExpressions[1], label)
  const server = { role: 'server', name: 'k3s', image: 'docker.io/rancher/k3s:v1.36.3-k3s1', hostname: 's1' } as const
  for (const form of containerForms)
    assert.match(containerText(form, { ...server, alone: false, env: {} }), '--node-label=rollcall/runtime=container')
})

test('the plans, whole: as asked for by nobody in particular', () => {
  golden('upgrade-plan.yaml', upgradePlan(upgrade()))
})

test('the plans, whole: with a window, a pinned image, five agents at once, drained', () => {
  const window = { days: ['saturday', 'sunday'], start: '22:00', end: '04:00', time_zone: 'Europe/Berlin' }
  const image = `registry.example.net/rancher/k3s-upgrade@sha256:${'0'.repeat(64)}`
  golden('upgrade-plan-window.yaml', upgradePlan(upgrade({ window, image, agents_at_once: 5, drain_agents: true })))
})
