import type { Sql } from 'postgres'
import { sharedSecret } from '../store/server-secrets.ts'
import type { Vault } from '../store/vault.ts'
import { makeCa, newKey, type Pair } from './certificates.ts'
import { pinList } from './pins.ts'

/** Who this installation is to its devices: one for all servers of a database. */
export type TlsIdentity = {
  ca: Pair
  /** PEM, the key that devices pin */
  key: string
  /** `sha256//current;sha256//standby` */
  pins: string
}

/** Reads the CA, the TLS key and the standby key, making them at the first start. @param now Unix seconds */
export async function tlsIdentity(sql: Sql, vault: Vault, now: number): Promise<TlsIdentity> {
  const secret = async (name: string, make: () => Promise<string>) =>
    (await sharedSecret(sql, vault, name, now, make)).toString('utf8')
  const ca = JSON.parse(await secret('tls-ca', async () => JSON.stringify(await makeCa(now)))) as Pair
  const key = await secret('tls-key', async () => newKey())
  const standby = await secret('tls-standby-key', async () => newKey())
  return { ca, key, pins: pinList(key, standby) }
}
