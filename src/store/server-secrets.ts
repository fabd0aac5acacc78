import { randomBytes } from 'node:crypto'
import type { Sql } from 'postgres'
import type { Vault } from './vault.ts'

/**
 * A secret that all servers of a database share: made by whoever comes first, read by everybody.
 * @param name its row, and the place it is sealed for
 * @param now Unix seconds
 */
export async function sharedSecret(
  sql: Sql,
  vault: Vault,
  name: string,
  now: number,
  make: () => Promise<Uint8Array | string>,
): Promise<Buffer> {
  const place = `secrets/${name}/sealed`
  const read = async () => {
    const [row] = await sql<{ sealed: Uint8Array }[]>`select sealed from secrets where name = ${name}`
    return row && vault.open(place, row.sealed)
  }
  const found = await read()
  if (found) return found
  const sealed = vault.seal(place, await make())
  await sql`insert into secrets (name, sealed, created_at)
    values (${name}, ${sealed}, ${new Date(now * 1000).toISOString()}::timestamptz) on conflict (name) do nothing`
  const made = await read()
  if (!made) throw new Error(`the secret ${name} vanished while it was made`)
  return made
}

/** The keys of `services/context.ts`: 32 random bytes each. */
export async function serverKeys(sql: Sql, vault: Vault, now: number) {
  const key = (name: string) => sharedSecret(sql, vault, name, now, async () => randomBytes(32))
  const [nonce, nodePassword] = await Promise.all([key('nonce-key'), key('node-password-key')])
  return { nonce, nodePassword }
}
