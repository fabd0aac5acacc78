import { createHash } from 'node:crypto'

/** A DNS label (RFC 1123) in lower case, which is what Kubernetes takes as a Node's name. */
export const hostnamePattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/**
 * The hostname of a device that was given none: its serial in lower case, everything else squeezed to hyphens.
 * @param serial a valid serial
 * @returns a DNS label, at most 63 characters
 */
export function deriveHostname(serial: string): string {
  return trim(squeeze(serial).slice(0, 63))
}

/**
 * What a derived hostname becomes when it is taken in its cluster: cut to 58 characters, with four hex digits that depend on the serial
 * as entered, so that the same roll always yields the same names.
 */
export function deriveAlternative(serial: string): string {
  const suffix = createHash('sha256').update(serial).digest('hex').slice(0, 4)
  return `${trim(squeeze(serial).slice(0, 58))}-${suffix}`
}

function squeeze(serial: string): string {
  return trim(serial.toLowerCase().replace(/[^a-z0-9]+/g, '-'))
}

function trim(label: string): string {
  return label.replace(/^-+|-+$/g, '')
}
