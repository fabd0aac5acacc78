import { randomBytes } from 'node:crypto'
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Account } from './account.ts'
import { run } from './run.ts'
import { writeOnce } from './small-file.ts'

/** Where one embedded PostgreSQL has its files. */
export type Place = {
  /** Reachable for Postgres' account; holds the rest */
  root: string
  /** PGDATA, 0700, owned by Postgres' account */
  data: string
  /** The Unix socket's directory, owned by Postgres' account */
  sockets: string
}

const away = '/var/lib/rollcall/elsewhere'

/** PGDATA if it exists already, and where it would be otherwise; `isElsewhere` if the data directory names another place. */
export function findPlace(dataDirectory: string): Place & { isElsewhere: boolean } {
  const pointed = pointedTo(dataDirectory)
  return { ...placeAt(pointed ?? join(dataDirectory, 'postgres')), isElsewhere: pointed !== undefined }
}

/**
 * Makes the directories. Where the account cannot reach the data directory (a parent is closed to it), the database
 * lives under /var/lib/rollcall, and the file `postgres.elsewhere` in the data directory says where.
 */
export async function preparePlace(
  dataDirectory: string,
  account: Account | undefined,
  say: (message: string) => void,
): Promise<Place> {
  const pointed = pointedTo(dataDirectory)
  if (pointed) {
    if (existsSync(pointed)) return make(pointed, account)
    const pointer = join(dataDirectory, pointerName)
    throw new Error(
      `The database of ${dataDirectory} was at ${pointed}, which is gone: bring it back, or remove ${pointer} to start with an empty one`,
    )
  }
  const near = make(join(dataDirectory, 'postgres'), account)
  if (!account || (await reaches(account, near.sockets))) return near
  // An empty one elsewhere would be another roll, with other pins: every box would be lost to it.
  if (existsSync(join(near.data, 'PG_VERSION'))) {
    throw new Error(
      `The database is at ${near.data}, and the account ${account.name} can no longer enter it: let it through the directories above (chmod o+x ${dataDirectory})`,
    )
  }
  const far = join(away, randomBytes(8).toString('hex'))
  const place = make(far, account)
  if (!(await reaches(account, place.sockets))) {
    throw new Error(
      `The account ${account.name} can reach neither ${dataDirectory} nor ${away}: give a --data-dir whose parents it may enter (chmod o+x)`,
    )
  }
  writeOnce(join(dataDirectory, pointerName), `${far}\n`)
  say(`the account ${account.name} cannot reach ${dataDirectory}: THE DATABASE IS KEPT AT ${far}`)
  return place
}

/** The data directory itself; closed to others but for the way through to Postgres, which runs as another account. */
export function prepareDataDirectory(path: string): void {
  const asRoot = process.getuid?.() === 0
  const fresh = !existsSync(path) || readdirSync(path).length === 0
  mkdirSync(path, { recursive: true, mode: asRoot ? 0o711 : 0o700 })
  // Somebody else's directory that happens to hold files keeps its mode.
  if (asRoot && fresh && statSync(path).uid === 0) chmodSync(path, 0o711)
}

const pointerName = 'postgres.elsewhere'

function pointedTo(dataDirectory: string): string | undefined {
  const pointer = join(dataDirectory, pointerName)
  return existsSync(pointer) ? readFileSync(pointer, 'utf8').trim() : undefined
}

const placeAt = (root: string): Place => ({ root, data: join(root, 'data'), sockets: join(root, 'run') })

function make(root: string, account: Account | undefined): Place {
  const place = placeAt(root)
  mkdirSync(dirname(root), { recursive: true, mode: 0o711 })
  mkdirSync(root, { recursive: true, mode: account ? 0o711 : 0o700 })
  mkdirSync(place.sockets, { recursive: true, mode: account ? 0o711 : 0o700 })
  if (account) chownSync(place.sockets, account.uid, account.gid)
  return place
}

async function reaches(account: Account, directory: string): Promise<boolean> {
  const { code } = await run('/bin/sh', ['-c', 'test -w "$0" && test -x "$0"', directory], { account, env: {} })
  return code === 0
}
