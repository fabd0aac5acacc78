import { execFileSync } from 'node:child_process'
import { statSync } from 'node:fs'

/** Who Postgres runs as. It refuses to run as root. */
export type Account = { name: string; uid: number; gid: number }

const fallbacks = ['rollcall', 'postgres', 'nobody']

/**
 * Chooses the account for Postgres: undefined means "as we are".
 * @param wanted a name that the admin gave
 * @param dataDirectory an existing Postgres data directory goes on under the account that owns it
 * @throws Error if there is no such account, or if a name was given without being root
 */
export function chooseAccount(wanted: string | undefined, dataDirectory: string): Account | undefined {
  if (process.getuid?.() !== 0) {
    if (wanted === undefined) return undefined
    throw new Error('ROLLCALL_POSTGRES_USER only works when Rollcall is started as root')
  }
  const owner = wanted === undefined ? ownerOf(dataDirectory) : undefined
  if (owner) return owner
  const account = (wanted === undefined ? fallbacks : [wanted]).map(lookUp).find((a) => a !== undefined)
  if (account?.uid === 0) throw new Error(`PostgreSQL does not run as root: choose another ROLLCALL_POSTGRES_USER`)
  if (account) return account
  const names = wanted === undefined ? `none of the accounts ${fallbacks.join(', ')} exists` : `no account "${wanted}"`
  throw new Error(
    `PostgreSQL does not run as root, and there is ${names}: make one (useradd --system rollcall), or set DATABASE_URL`,
  )
}

/** What `child_process.spawn` needs to run as the account. */
export const asAccount = (account: Account | undefined) => (account ? { uid: account.uid, gid: account.gid } : {})

function ownerOf(path: string): Account | undefined {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (!stat || stat.uid === 0) return undefined
  return { name: `#${stat.uid}`, uid: stat.uid, gid: stat.gid }
}

function lookUp(name: string): Account | undefined {
  const id = (flag: string) =>
    Number(execFileSync('id', [flag, '--', name], { encoding: 'utf8', stdio: 'pipe' }).trim())
  try {
    return { name, uid: id('-u'), gid: id('-g') }
  } catch {
    return undefined
  }
}
