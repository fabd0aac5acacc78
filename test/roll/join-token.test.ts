import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { type JoinToken, stepOf } from '../../src/roll/join-token.ts'
import { suite } from '../suite.ts'

const test = suite('a join token')

const now = 1_000_000
const token: JoinToken = {
  createdAt: now - 2_700,
  ended: false,
  joined: false,
  expiresAt: now + 900,
  ttl: 3_600,
  known: true,
  lastStepAt: now - 2_600,
}

test('is deleted when its device joined, its enrollment ended, or its time is up', () => {
  assert.equal(stepOf({ ...token, joined: true }, now), { do: 'delete', why: 'joined' })
  assert.equal(stepOf({ ...token, ended: true }, now), { do: 'delete', why: 'ended' })
  const silent = { ...token, lastStepAt: null }
  assert.is(stepOf(silent, now + 899), undefined)
  assert.equal(stepOf(silent, now + 900), { do: 'delete', why: 'expired' })
})

test('is renewed in its last quarter, a quarter of an hour at most', () => {
  assert.is(stepOf(token, now - 1), undefined)
  assert.equal(stepOf(token, now), { do: 'renew', until: now + 3_600 })
  const short = { ...token, ttl: 300, expiresAt: now + 75 }
  assert.is(stepOf(short, now - 1), undefined)
  assert.equal(stepOf(short, now), { do: 'renew', until: now + 300 })
  assert.equal(stepOf({ ...token, expiresAt: now - 60 }, now), { do: 'renew', until: now + 3_600 })
})

test('is not renewed for a device that is silent for two hours, nor where its secret is not known', () => {
  assert.is(stepOf({ ...token, lastStepAt: now - 7_201 }, now), undefined)
  assert.is(stepOf({ ...token, known: false }, now), undefined)
})

test('lives no longer than a day', () => {
  const old = { ...token, createdAt: now - 86_000, lastStepAt: now }
  assert.is(stepOf(old, now), undefined)
  assert.equal(stepOf({ ...old, expiresAt: now + 300 }, now), { do: 'renew', until: now + 400 })
  assert.equal(stepOf({ ...old, expiresAt: now + 400 }, now + 400), { do: 'delete', why: 'expired' })
})

test('whatever is reported: never lives longer than a day, and is deleted in the end', () => {
  const times = fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 300, maxLength: 600 })
  fc.assert(
    fc.property(fc.integer({ min: 300, max: 86_400 }), times, fc.boolean(), (ttl, pauses, silent) => {
      let at = now
      let one = { ...token, createdAt: now, ttl, expiresAt: now + ttl }
      for (const pause of pauses) {
        at += pause
        one = { ...one, lastStepAt: silent ? null : at }
        const step = stepOf(one, at)
        if (step?.do === 'delete') return at >= one.expiresAt
        if (step) one = { ...one, expiresAt: step.until }
        if (one.expiresAt > now + 86_400) return false
      }
      return at < now + 86_400
    }),
  )
})
