import { randomBytes } from 'node:crypto'
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Account } from './account.ts'
import type { Place } from './place.ts'
import type { Program } from './program.ts'
import { run, tail } from './run.ts'
import { writeOnce, writeWhole } from './small-file.ts'

/** The passwords, made once, kept in 0600 files of ours that Postgres' account cannot read. */
export type Passwords = { superuser: string; rollcall: string }

/** Reads the passwords, making what is missing. */
export function preparePasswords({ root }: Place): Passwords {
  const make = (name: string) => writeOnce(join(root, name), `${randomBytes(24).toString('base64url')}\n`).trim()
  return { superuser: make('superuser.password'), rollcall: make('rollcall.password') }
}

/**
 * Makes PGDATA if there is none. It is made under another name and renamed when complete, so that initdb killed half-way
 * or a full disk leaves nothing that looks like a database.
 * @throws Error if PGDATA belongs to another major version, or initdb fails
 */
export async function initialize(
  place: Place,
  program: Program,
  account: Account | undefined,
  password: string,
): Promise<void> {
  if (existsSync(place.data)) return checkVersion(place.data, program.major)
  const directory = `${place.data}.new`
  const pwfile = join(place.root, 'pwfile')
  for (const old of readdirSync(place.root)) {
    if (old === 'data.new') rmSync(join(place.root, old), { recursive: true })
  }
  mkdirSync(directory, { mode: 0o700 })
  if (account) chownSync(directory, account.uid, account.gid)
  writeWhole(pwfile, `${password}\n`, { account })
  try {
    const options = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
    const files = [`--pgdata=${directory}`, `--pwfile=${pwfile}`]
    const args = [...files, ...options, '--username=postgres', '--auth=scram-sha-256', '--no-instructions']
    const { code, errno, output } = await run(program.initdb, args, { account, env: program.env })
    if (code !== 0) {
      throw new Error(`PostgreSQL could not make its database at ${place.data}: ${errno ?? tail(output)}`)
    }
    renameSync(directory, place.data)
  } finally {
    rmSync(pwfile, { force: true })
    rmSync(directory, { recursive: true, force: true })
  }
}

function checkVersion(data: string, major: number): void {
  const file = join(data, 'PG_VERSION')
  if (!existsSync(file)) {
    throw new Error(
      `${data} is not a PostgreSQL database: move it away to start with an empty one, or bring it back whole`,
    )
  }
  const found = readFileSync(file, 'utf8').trim()
  if (found === String(major)) return
  throw new Error(
    `The database at ${data} was made by PostgreSQL ${found}, and this Rollcall brings PostgreSQL ${major}: ` +
      `start the Rollcall that brought ${found}, dump it with pg_dumpall, move ${data} away and restore the dump into the new one ` +
      '(docs/operations.md, "PostgreSQL upgrades")',
  )
}
