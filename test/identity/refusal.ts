import * as assert from 'uvu/assert'
import { AppError, type Code } from '../../src/errors.ts'

/** The refusal that `act` ends in, or a failed test. */
export function refusalOf(act: () => unknown): AppError {
  try {
    act()
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error('expected a refusal, and there was none')
}

/** Refused with this code, and nothing said to the asker: what is not proved gets no explanation. */
export function refusedSilently(act: () => unknown, code: Code): void {
  const refusal = refusalOf(act)
  assert.is(refusal.code, code)
  assert.is(refusal.detail, undefined)
  assert.is(refusal.errors, undefined)
}
