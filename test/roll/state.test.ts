import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import type { DeviceEvent, DeviceState } from '../../src/roll/state.ts'
import { deviceEvents, deviceStates, isTombstone, nextState, transitions } from '../../src/roll/state.ts'
import { suite } from '../suite.ts'

const test = suite('device state')
const conflict = (e: { code?: string }) => e.code === 'state_conflict'

/** Plays events from a start; those that are refused change nothing. */
function play(start: DeviceState, events: readonly DeviceEvent[]): DeviceState {
  return events.reduce((state, event) => {
    try {
      return nextState(state, event)
    } catch (error) {
      if (conflict(error as { code?: string })) return state
      throw error
    }
  }, start)
}

const anyEvents = fc.array(fc.constantFrom(...deviceEvents), { maxLength: 40 })
const anyState = fc.constantFrom(...deviceStates)

test('refuses what does not fit, in words', () => {
  for (const [state, event] of [
    ['registered', 'approve'],
    ['ready', 'reinstate'],
    ['pending', 'enroll'],
    ['revoked', 'enroll'],
    ['retired', 'progress'],
  ] as const) {
    assert.throws(() => nextState(state, event), conflict)
  }
  try {
    nextState('ready', 'approve')
  } catch (error) {
    assert.is((error as { detail: string }).detail, 'a device that is ready cannot be approved: only a pending one can')
  }
})

test('goes the way of a device', () => {
  assert.is(play('registered', ['enroll', 'progress', 'progress', 'join', 'ready']), 'ready')
  assert.is(play('registered', ['hold', 'approve', 'enroll', 'fail', 'progress', 'ready']), 'ready')
  assert.is(play('registered', ['hold', 'reject']), 'revoked')
})

test('never leaves the table, whatever happens', () => {
  fc.assert(fc.property(anyState, anyEvents, (start, events) => deviceStates.includes(play(start, events))))
})

test('stays ended until an admin reinstates it', () => {
  const others = fc.array(fc.constantFrom(...deviceEvents.filter((e) => e !== 'reinstate')), { maxLength: 40 })
  fc.assert(
    fc.property(fc.constantFrom<DeviceState>('revoked', 'retired'), others, (start, events) =>
      isTombstone(play(start, events)),
    ),
  )
})

test('stays revoked when it is retired', () => {
  assert.is(nextState('revoked', 'retire'), 'revoked')
  assert.is(nextState('retired', 'revoke'), 'revoked')
})

test('stays joined or ready whatever it reports late', () => {
  const reports = fc.array(fc.constantFrom<DeviceEvent>('progress', 'fail'), { maxLength: 10 })
  fc.assert(
    fc.property(
      fc.constantFrom<DeviceState>('joined', 'ready'),
      reports,
      (start, events) => play(start, events) === start,
    ),
  )
})

test('can be revoked and retired from everywhere, and reaches ready from everywhere', () => {
  for (const state of deviceStates) {
    assert.is(nextState(state, 'revoke'), 'revoked')
    assert.ok(isTombstone(nextState(state, 'retire')))
    assert.is(play(state, ['reinstate', 'approve', 'enroll', 'ready']), 'ready', state)
    assert.ok(transitions[state])
  }
})
