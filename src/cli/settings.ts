import type { Addresses } from '../addresses.ts'
import type { Config } from '../config.ts'
import type { Settings } from '../services/context.ts'
import type { TlsIdentity } from '../tls/identity.ts'
import { pinsOf } from './credentials.ts'

/** What documents and claims need to know of this server. */
export function settingsOf(config: Config, addresses: Addresses, tls: TlsIdentity): Settings {
  return {
    publicUrl: addresses.publicUrl,
    publicUrlGuessed: addresses.publicUrlGuessed,
    audiences: addresses.audiences,
    pins: pinsOf(config, tls),
    ca: tls.ca.certificate + (config.tlsCa ? `${config.tlsCa}\n` : ''),
    k3s: { installScriptUrl: config.k3s.scriptUrl, artifactUrl: config.k3s.artifactUrl },
  }
}

/** What is wrong with a public URL; what to do about it is for the caller to add. */
export const publicUrlWarning = (url: string, why: 'leads nowhere but to this machine' | 'is a guess') =>
  `the public URL ${url} ${why}, and devices will be told to use it`

/** What an admin should hear at each start. */
export function warnings(config: Config, { publicUrl, publicUrlGuessed, publicUrlLoopback }: Addresses): string[] {
  const found: string[] = []
  if (publicUrlGuessed) {
    const why = publicUrlLoopback ? 'leads nowhere but to this machine' : 'is a guess'
    found.push(`${publicUrlWarning(publicUrl, why)}: set ROLLCALL_PUBLIC_URL`)
  }
  if (config.databaseUrl === undefined) {
    found.push(
      'THE EMBEDDED POSTGRESQL RUNS ON THIS ONE MACHINE AND IS NOT HIGHLY AVAILABLE: back it up, or set DATABASE_URL',
    )
  }
  return found
}
