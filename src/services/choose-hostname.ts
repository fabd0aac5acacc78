import { AppError } from '../errors.ts'
import { deriveAlternative, deriveHostname } from '../roll/hostname.ts'
import type { Drizzle } from '../store/database.ts'
import { isHostnameTaken } from '../store/devices.ts'

/** Whose hostname, where; `given` is what an admin wants, else it is made from the serial. */
export type HostnameWish = { clusterId: string; serial: string; given: string | undefined; deviceId?: string }

/**
 * A hostname that is free in its cluster; the unique constraint has the last word.
 * @throws AppError `already_exists`
 */
export async function chooseHostname(tx: Drizzle, wish: HostnameWish): Promise<string> {
  const { clusterId, serial, given, deviceId } = wish
  const candidates = given === undefined ? [deriveHostname(serial), deriveAlternative(serial)] : [given]
  for (const name of candidates) {
    if (!(await isHostnameTaken(tx, clusterId, name, deviceId))) return name
  }
  throw hostnameTaken(candidates[0] as string)
}

export function hostnameTaken(name: string): AppError {
  const detail = `another device of the cluster has the hostname ${name}, or had it: give this one another`
  return new AppError('already_exists', { detail, errors: [{ path: 'hostname', reason: 'is taken in its cluster' }] })
}
