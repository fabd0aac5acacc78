import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres, { type Sql } from 'postgres'
import { type Account, chooseAccount } from '../src/postgres/account.ts'
import type { Place } from '../src/postgres/place.ts'
import { freePort } from '../src/postgres/port.ts'
import { startPostmaster, stopPostmaster } from '../src/postgres/postmaster.ts'
import { isAlive } from '../src/postgres/process-identity.ts'
import { type Program, prepareProgram } from '../src/postgres/program.ts'
import { provision } from '../src/postgres/roles.ts'
import { run } from '../src/postgres/run.ts'
import { postgresqlConf } from '../src/postgres/settings.ts'
import { migrate } from '../src/store/migrate.ts'
import { makeCa, makeLeaf, newKey } from '../src/tls/certificates.ts'

/** A PostgreSQL of a test's own, whose log can be read, with our role and our migrated database as an admin would make them. */
export type Throwaway = {
  port: number
  /** Our role in our database, over TLS */
  url: string
  /** PEM: what vouches for the server's certificate, which names localhost and 127.0.0.1 */
  ca: string
  data: string
  /** All that it has logged */
  log: () => string
  /** A superuser's session in a database */
  superuser: (database?: string, max?: number) => Sql
  /** Replaces pg_hba.conf and has it read. */
  hba: (text: string) => Promise<void>
  /** Comes up again as a standby, which takes no writes. */
  becomeStandby: () => Promise<void>
  /** Dies as at a power cut, and stays away. */
  crash: () => Promise<void>
  /** Ends every session and starts again; `meanwhile` runs while it is away. */
  restart: (meanwhile?: () => Promise<void>) => Promise<void>
  stop: () => Promise<void>
}

export type Major = 15 | 18

/** Which of them this machine has: the embedded 18 always, Debian's 15 where it is installed. */
export const majors: Major[] = existsSync(debian('postgres')) ? [15, 18] : [18]
if (majors.length < 2)
  console.log(
    'skipped: PostgreSQL 15 (Debian) is not installed here: what is tested on it and on 18 is tested on 18 alone',
  )

export const openToAll = `local all all scram-sha-256
hostssl all all all scram-sha-256
`

/** Starts one on a free port of the loopback, as a user other than root. @param names further names in its certificate */
export async function throwawayPostgres(
  major: Major,
  settings: Record<string, string> = {},
  names: readonly string[] = [],
): Promise<Throwaway> {
  const root = mkdtempSync(join(tmpdir(), `rollcall-pg${major}-`))
  chmodSync(root, 0o711)
  const account = chooseAccount(undefined, join(root, 'data'))
  const place = { root, data: join(root, 'data'), sockets: join(root, 'run') }
  const program = major === 15 ? debianProgram() : await prepareProgram(root, account, () => {})
  const secret = randomBytes(18).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  const [ca, tlsKey] = [await makeCa(now), newKey()]
  await initialize(place, program, account, secret)
  const put = (name: string, text: string) => {
    writeFileSync(join(place.data, name), text, { mode: 0o600 })
    if (account) chownSync(join(place.data, name), account.uid, account.gid)
  }
  const port = await freePort()
  const extra = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', ...settings }
  put('rollcall.crt', await makeLeaf(ca, tlsKey, ['localhost', '127.0.0.1', ...names], now))
  put('rollcall.key', tlsKey)
  put(
    'postgresql.conf',
    postgresqlConf({ listen: '127.0.0.1,127.0.0.2', port, sockets: place.sockets, memory: 0, extra }),
  )
  put('pg_hba.conf', openToAll)
  let postmaster = await startPostmaster(place, program, account)

  const tls = { host: '127.0.0.1', port, ssl: { ca: ca.certificate, servername: 'localhost' }, onnotice: () => {} }
  const sessions: Sql[] = []
  const superuser = (database = 'postgres', max = 2) => {
    const sql = postgres({ ...tls, user: 'postgres', password: secret, database, max })
    sessions.push(sql)
    return sql
  }
  await provision(superuser(), secret)
  const url = `postgres://rollcall:${secret}@127.0.0.1:${port}/rollcall?sslmode=require`
  await migrate(url)
  return {
    port,
    url,
    ca: ca.certificate,
    data: place.data,
    log: () =>
      readdirSync(join(place.data, 'log'))
        .map((name) => readFileSync(join(place.data, 'log', name), 'utf8'))
        .join(''),
    superuser,
    hba: async (text) => {
      put('pg_hba.conf', text)
      await superuser()`select pg_reload_conf()`
    },
    becomeStandby: async () => {
      await stopPostmaster(postmaster)
      put('standby.signal', '')
      postmaster = await startPostmaster(place, program, account)
    },
    crash: async () => {
      process.kill(postmaster.pid, 'SIGQUIT')
      while (isAlive(postmaster.pid, postmaster.identity)) await sleep(10)
    },
    restart: async (meanwhile = async () => {}) => {
      await stopPostmaster(postmaster)
      await meanwhile()
      postmaster = await startPostmaster(place, program, account)
    },
    stop: async () => {
      await Promise.all(sessions.map((sql) => sql.end({ timeout: 1 })))
      await stopPostmaster(postmaster)
      rmSync(root, { recursive: true, force: true })
    },
  }
}

export function debian(program: string): string {
  return `/usr/lib/postgresql/15/bin/${program}`
}

export const debianProgram = (): Program => ({
  postgres: debian('postgres'),
  initdb: debian('initdb'),
  env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
  major: 15,
})

async function initialize(place: Place, program: Program, account: Account | undefined, password: string) {
  for (const directory of [place.data, place.sockets]) {
    mkdirSync(directory, { mode: 0o700 })
    if (account) chownSync(directory, account.uid, account.gid)
  }
  const pwfile = join(place.root, 'pwfile')
  writeFileSync(pwfile, password, { mode: 0o600 })
  if (account) chownSync(pwfile, account.uid, account.gid)
  const files = [`--pgdata=${place.data}`, `--pwfile=${pwfile}`]
  const args = [...files, '--encoding=UTF8', '--locale=C', '--username=postgres', '--auth=scram-sha-256', '--no-sync']
  const { code, output } = await run(program.initdb, args, { account, env: program.env })
  if (code !== 0) throw new Error(`initdb failed: ${output}`)
}
