import { createSecureContext } from 'node:tls'
import type { Config } from '../config.ts'
import type { Credentials } from '../server.ts'
import { makeLeaf } from '../tls/certificates.ts'
import { pinOf } from '../tls/pins.ts'
import { type Store, unixTime } from './open-store.ts'

/**
 * What the HTTPS listener shows: the admin's own certificate, else a fresh one for our key, with our CA behind it.
 * @param names for the certificate that we make
 * @throws Error if the admin's certificate and key do not fit each other
 */
export async function credentialsOf(config: Config, { tls }: Store, names: readonly string[]): Promise<Credentials> {
  if (config.tls) return checked(config.tls)
  const leaf = await makeLeaf(tls.ca, tls.key, names, unixTime())
  return { certificate: leaf + tls.ca.certificate, key: tls.key }
}

/** Devices know our keys by their pins, and would refuse another one. */
export function warnOfForeignKey(config: Config, { tls }: Store, warn: (message: string) => void): void {
  if (!config.tls || tls.pins.split(';').includes(pinOf(config.tls.certificate))) return
  warn('ROLLCALL_TLS_KEY is not a pinned key: devices that check the pin will refuse this server (see `rollcall pin`)')
}

function checked(credentials: Credentials): Credentials {
  try {
    createSecureContext({ cert: credentials.certificate, key: credentials.key })
    return credentials
  } catch (error) {
    throw new Error(`ROLLCALL_TLS_CERT and ROLLCALL_TLS_KEY cannot be used: ${(error as Error).message}`, {
      cause: error,
    })
  }
}
