import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { deadlineOf, type Progress, patience, stuckOf } from '../../src/roll/deadline.ts'
import { deviceStates } from '../../src/roll/state.ts'
import { suite } from '../suite.ts'

const test = suite('deadline')
const t0 = 1_795_396_247

const progress = (over: Partial<Progress>): Progress => ({
  state: 'registered',
  stateSince: t0,
  lastStep: null,
  lastResult: null,
  lastStepAt: null,
  failure: null,
  mustRejoin: false,
  ...over,
})

test('every state has one, but those where nothing is awaited', () => {
  for (const state of deviceStates) {
    const awaited = !['ready', 'revoked', 'retired'].includes(state)
    assert.is(deadlineOf(progress({ state })) !== null, awaited, state)
  }
})

test('is stuck one second past it, not before', () => {
  fc.assert(
    fc.property(fc.constantFrom(...deviceStates), (state) => {
      const p = progress({ state })
      const deadline = deadlineOf(p)
      if (deadline === null) return stuckOf(p, 4_000_000_000) === null
      return stuckOf(p, deadline) === null && stuckOf(p, deadline + 1)?.since === deadline
    }),
  )
})

test('each step gives more time', () => {
  const p = progress({ state: 'installing', lastStep: 'os.update', lastResult: 'start', lastStepAt: t0 + 600 })
  assert.is(deadlineOf(p), t0 + 600 + (patience.installing as number))
})

test('is stuck at once where its Node is doubted', () => {
  const p = progress({ state: 'ready', failure: 'another machine may have its name' })
  assert.equal(stuckOf(p, t0 + 1), { since: t0, step: null, reason: 'another machine may have its name' })
  assert.is(stuckOf({ ...p, failure: null }, t0 + 1), null)
})

test('says since when, at what step, and why', () => {
  const late = t0 + 1_000_000_000
  const at = { lastStep: 'k3s.download', lastResult: 'start', lastStepAt: t0 + 60 }
  assert.equal(stuckOf(progress({ state: 'installing', ...at }), late), {
    since: t0 + 60 + 7_200,
    step: 'k3s.download',
    reason: 'it stopped reporting: the last step was k3s.download (start)',
  })
  assert.is(
    stuckOf(progress({ state: 'failed', failure: 'k3s.install: no space left', ...at }), late)?.reason,
    'it failed and has not tried again: k3s.install: no space left',
  )
  assert.match(stuckOf(progress({}), late)?.reason ?? '', /never called in/)
  assert.match(stuckOf(progress({ state: 'pending' }), late)?.reason ?? '', /approve or reject/)
  assert.match(stuckOf(progress({ state: 'enrolled' }), late)?.reason ?? '', /no step was reported/)
  assert.match(stuckOf(progress({ state: 'joined', ...at }), late)?.reason ?? '', /did not become Ready/)
})

test('a ready device whose cluster was made anew is stuck at once', () => {
  assert.match(stuckOf(progress({ state: 'ready', mustRejoin: true }), t0 + 1)?.reason ?? '', /made anew/)
})
