import { AppError } from '../errors.ts'
import type { Drizzle } from '../store/database.ts'
import type { Context } from './context.ts'
import { brokenConstraint, sqlState } from './row-error.ts'

/** Times that a change is tried: another one may take a derived hostname, or lock the same rows the other way round. */
const attempts = 3

/**
 * One transaction that changes the roll, begun again when it lost a race. What two admins did at once becomes a typed refusal.
 * @throws AppError `already_exists` for a serial, hostname or key that another device has
 */
export async function rollTransaction<T>({ db }: Context, change: (tx: Drizzle) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await db.transaction((tx) => change(tx))
    } catch (error) {
      if (attempt < attempts && isLostRace(error)) continue
      throw taken(error)
    }
  }
}

// A second look at the serial or the hostname tells what is there now; a key stays taken.
function isLostRace(error: unknown): boolean {
  const constraint = brokenConstraint(error)
  const state = sqlState(error)
  return (
    constraint === 'devices_hostname' || constraint === 'devices_serial_key' || state === '40P01' || state === '40001'
  )
}

function taken(error: unknown): unknown {
  switch (brokenConstraint(error)) {
    case 'identities_live_thumbprint':
      return keyTaken(error)
    case 'devices_hostname':
      return new AppError('already_exists', { detail: 'the hostname is taken in its cluster', cause: error })
    case 'devices_serial_key':
      return new AppError('already_exists', { detail: 'the serial is on the roll already', cause: error })
    default:
      return error
  }
}

function keyTaken(cause: unknown): AppError {
  const errors = [{ path: 'identity', reason: 'the key is pinned for another device' }]
  return new AppError('already_exists', { detail: 'the key is pinned for another device', errors, cause })
}
