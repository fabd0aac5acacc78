import type { Sql, TransactionSql } from 'postgres'
import { openVault, type SealingKey } from './seal.ts'
import { readSealingKeys, writeSealingKey } from './sealing-key-file.ts'
import type { Vault } from './vault.ts'

const checked = 'rollcall'
const place = (id: string) => `sealing_keys/${id}/check_value`

/**
 * Opens the vault: the key file must fit the database, which holds a check value for each key. On an empty database, and only
 * there, the file is made; servers that start together wait for each other.
 * @param random 32 fresh random bytes, in case a key must be made
 * @throws Error with a sentence if the key is missing, wrong or damaged
 */
export async function unlock(
  sql: Sql,
  path: string,
  now: number,
  random: () => Uint8Array,
): Promise<{ vault: Vault; made: boolean }> {
  return (await sql.begin(async (tx) => {
    await tx`select pg_advisory_xact_lock(hashtext('rollcall sealing keys'))`
    const known = await tx<{ id: string; check_value: Uint8Array }[]>`select id, check_value from sealing_keys`
    const found = readSealingKeys(path)
    if (known.length === 0) await refuseSealed(tx)
    if (!found && known.length > 0) throw new Error(missing(path, known))
    const keys = found ?? [writeSealingKey(path, random())]
    check(path, keys, known)
    const at = new Date(now * 1000).toISOString()
    for (const key of keys.filter(({ id }) => !known.some((k) => k.id === id))) {
      const value = openVault([key]).seal(place(key.id), checked)
      await tx`insert into sealing_keys (id, check_value, created_at) values (${key.id}, ${value}, ${at}::timestamptz)`
    }
    return { vault: openVault(keys), made: !found }
  })) as { vault: Vault; made: boolean }
}

type Known = readonly { id: string; check_value: Uint8Array }[]

function check(path: string, keys: readonly SealingKey[], known: Known): void {
  for (const { id, check_value } of known) {
    const key = keys.find((k) => k.id === id)
    if (!key) throw new Error(foreign(path, keys, id))
    if (openVault([key]).open(place(id), check_value).toString() !== checked) throw new Error(foreign(path, keys, id))
  }
}

// Somebody emptied the table that says which key fits: a new key would bury what the old one sealed.
async function refuseSealed(tx: TransactionSql): Promise<void> {
  const [row] = await tx<{ sealed: boolean }[]>`select exists (select from secrets) as sealed`
  if (row?.sealed)
    throw new Error('The database holds sealed secrets but no check value for their key: restore it from a backup')
}

function missing(path: string, known: Known): string {
  const ids = known.map(({ id }) => id).join(', ')
  return `The sealing key file ${path} is missing, and this database is sealed under key ${ids}: bring back its copy (another server of this database has one), or name it in ROLLCALL_SEALING_KEY_FILE. A new key could not open anything`
}

function foreign(path: string, keys: readonly SealingKey[], id: string): string {
  const have = keys.map((key) => key.id).join(', ')
  return `The sealing key file ${path} does not fit this database: it holds key ${have}, and the database is sealed under key ${id}. Bring back the right file, or check the data directory and the database URL`
}
