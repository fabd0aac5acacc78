import { createHmac } from 'node:crypto'

/**
 * What K3s calls the node password: derived, so that a box that is provisioned again is not refused by its old cluster.
 * @param key the server's key for node passwords, 32 bytes
 * @param deviceId `dev_…`: a serial may be spelled in two cases, an id may not
 * @returns 32 hex digits
 */
export function nodePassword(key: Uint8Array, deviceId: string): string {
  return createHmac('sha256', key).update(deviceId).digest().subarray(0, 16).toString('hex')
}
