import { createSecureContext } from 'node:tls'
import type { Config } from '../config.ts'
import type { Credentials } from '../server.ts'
import { makeLeaf } from '../tls/certificates.ts'
import type { TlsIdentity } from '../tls/identity.ts'
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

/**
 * What devices are told to pin: the key that is served first, then those that may be served later. Under the admin's own certificate ours
 * stays on the list: it is the way back when that key is lost.
 * @returns `sha256//…;sha256//…`
 * @throws Error if a configured key cannot be read
 */
export function pinsOf({ tls: own, tlsNextKey }: Config, { pins }: Pick<TlsIdentity, 'pins'>): string {
  const next = tlsNextKey === undefined ? [] : [readPin('ROLLCALL_TLS_NEXT_KEY', tlsNextKey)]
  const [ours = '', ...standby] = pins.split(';')
  const served = own ? [readPin('ROLLCALL_TLS_CERT', own.certificate), ...next, ours] : [ours, ...standby, ...next]
  return [...new Set(served)].join(';')
}

/** What was made before a key was pinned refuses it. */
export function warnOfForeignKey(config: Config, { tls }: Store, warn: (message: string) => void): void {
  if (!config.tls || tls.pins.split(';').includes(pinOf(config.tls.certificate))) return
  warn(
    'ROLLCALL_TLS_KEY is not a key that this installation made: images and devices from before it was pinned refuse this server ' +
      '(compare them with `rollcall pin`; docs/operations.md, "TLS and pins")',
  )
}

function readPin(name: string, pem: string): string {
  try {
    return pinOf(pem)
  } catch (error) {
    throw new Error(`${name} holds no key that can be read: ${(error as Error).message}`, { cause: error })
  }
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
