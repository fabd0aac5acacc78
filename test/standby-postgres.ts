import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { chooseAccount } from '../src/postgres/account.ts'
import { freePort } from '../src/postgres/port.ts'
import { startPostmaster, stopPostmaster } from '../src/postgres/postmaster.ts'
import { run } from '../src/postgres/run.ts'
import { debian, debianProgram, openToAll, type Throwaway } from './throwaway-postgres.ts'

/** A streaming standby of a throwaway PostgreSQL 15, with its name and certificate. */
export type Standby = {
  port: number
  /** Our role in our database, on whichever of the two takes writes */
  url: string
  /** From here on it has all that the primary says it committed. */
  synchronise: () => Promise<void>
  /** It has all up to here, and hears no more of the primary. */
  cut: () => Promise<void>
  /** Takes writes. */
  promote: () => Promise<void>
  stop: () => Promise<void>
}

/** Makes one by pg_basebackup, as an admin would. */
export async function standbyOf(primary: Throwaway): Promise<Standby> {
  await primary.hba(`${openToAll}hostssl replication postgres all scram-sha-256\n`)
  const { password } = new URL(primary.url)
  const root = mkdtempSync(join(tmpdir(), 'rollcall-standby-'))
  chmodSync(root, 0o711)
  const place = { root, data: join(root, 'data'), sockets: join(root, 'run') }
  const account = chooseAccount(undefined, place.data)
  for (const directory of [place.data, place.sockets]) {
    mkdirSync(directory, { mode: 0o700 })
    if (account) chownSync(directory, account.uid, account.gid)
  }
  const program = debianProgram()
  const from = `host=127.0.0.1 port=${primary.port} user=postgres sslmode=require`
  const args = ['-D', place.data, '-d', from, '-X', 'stream', '-c', 'fast', '-R', '--no-sync']
  const env = { ...program.env, PGPASSWORD: password }
  const { code, output } = await run(debian('pg_basebackup'), args, { account, env })
  if (code !== 0) throw new Error(`pg_basebackup failed: ${output}`)
  const port = await freePort()
  const file = join(place.data, 'postgresql.conf')
  const conf = readFileSync(file, 'utf8').replace(/^port = .*$/m, `port = '${port}'`)
  writeFileSync(file, conf.replace(/^unix_socket_directories = .*$/m, `unix_socket_directories = '${place.sockets}'`))
  const postmaster = await startPostmaster(place, program, account)
  const tls = { rejectUnauthorized: false }
  const here = postgres({ host: '127.0.0.1', port, user: 'postgres', password, max: 1, ssl: tls, database: 'postgres' })
  const there = primary.superuser('postgres', 1)
  const streams = async (sync: string) => {
    const seen = async () => (await there`select from pg_stat_replication where sync_state = ${sync}`).length === 1
    while (!(await seen())) await sleep(20)
  }
  await streams('async')
  return {
    port,
    url: `postgres://rollcall:${password}@127.0.0.1:${primary.port},127.0.0.1:${port}/rollcall?sslmode=require&target_session_attrs=read-write`,
    synchronise: async () => {
      await there.unsafe(`alter system set synchronous_standby_names = '*'`)
      await there`select pg_reload_conf()`
      await streams('sync')
    },
    cut: async () => {
      const [{ sent }] = (await there`select pg_current_wal_lsn()::text as sent`) as unknown as [{ sent: string }]
      const has = async () => (await here`select where pg_last_wal_replay_lsn() >= ${sent}::pg_lsn`).length === 1
      while (!(await has())) await sleep(20)
      await here.unsafe(`alter system set primary_conninfo = ''`)
      await here`select pg_reload_conf()`
      while ((await here`select from pg_stat_wal_receiver`).length > 0) await sleep(20)
    },
    promote: async () => {
      // Nobody waits for a standby of the new primary.
      await here.unsafe(`alter system reset synchronous_standby_names`)
      await here`select pg_promote()`
    },
    stop: async () => {
      await here.end({ timeout: 1 })
      await stopPostmaster(postmaster)
      rmSync(root, { recursive: true, force: true })
    },
  }
}
