import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import type postgres from 'postgres'
import { type Account, chooseAccount } from './account.ts'
import { closeAdvisoryLocks } from './advisory-locks.ts'
import { certificateFile, prepareCertificate, replaceCertificate } from './certificate.ts'
import { clientOptions, type Endpoint, untilItAnswers, withClient } from './client.ts'
import { initialize, type Passwords, preparePasswords } from './initialize.ts'
import { waitForLock } from './lock.ts'
import type { Postmaster } from './pid-file.ts'
import { findPlace, type Place, prepareDataDirectory, preparePlace } from './place.ts'
import { freePort, isFree } from './port.ts'
import { settle, startPostmaster, stopPostmaster } from './postmaster.ts'
import { isAlive } from './process-identity.ts'
import { type Program, prepareProgram } from './program.ts'
import { provision } from './roles.ts'
import { type Door, hbaConf, portIn, postgresqlConf } from './settings.ts'
import { writeWhole } from './small-file.ts'
import { enter, leave, noteStay, others, stays, type Use } from './users.ts'

export type EmbeddedOptions = {
  /** Rollcall's data directory; made if need be */
  dataDirectory: string
  /** Account for Postgres when we are root; undefined = choose */
  account?: string | undefined
  /** Addresses for TCP, with TLS */
  listen: string
  /** 0 = a free one, at each start the same while nobody else takes it */
  port: number
  use: Use
  /** Whom the network lets in; nobody but them then. Undefined: whoever has a password, wherever it listens. */
  door?: Door | undefined
  /** It is not stopped by who started it in passing: others than Rollcall's own processes depend on it. A unit stops it. */
  stays?: boolean
  /** Makes the server's own certificate, valid for `localhost`; called once per database. PEM. */
  certificate: () => Promise<{ certificate: string; key: string }>
  /** Further settings for postgresql.conf */
  settings?: Record<string, string>
  say: (message: string) => void
}

/** The embedded PostgreSQL, up and provisioned. */
export type Embedded = {
  /** For postgres.js: our role in our database. */
  connection: postgres.Options<Record<string, never>>
  postmaster: () => Postmaster
  /** True if this process started it, false if it was running. */
  started: boolean
  root: string
  /** Whether a unit (`rollcall postgres`) keeps it up */
  hasUnit: () => boolean
  /**
   * Gives it another certificate for its key, at once and without a restart.
   * @param make is given the key and the present certificate, PEM; undefined leaves that
   */
  certify: (make: (key: string, present: string) => Promise<string | undefined>) => Promise<void>
  /** Takes the functions for advisory locks in one of its databases from everybody but the superuser. */
  closeAdvisoryLocks: (database: string) => Promise<void>
  /** Gives it back; stops it if no other living process uses it, unless it stays. */
  close: () => Promise<void>
}

/** Milliseconds that somebody else's initdb or start may take. */
const lockPatience = 900_000
const watchEvery = 1_000

/**
 * Starts the embedded PostgreSQL of a data directory, or adopts the one that runs, and keeps it up until closed.
 * @throws Error, each with a sentence for the admin
 */
export async function openEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  prepareDataDirectory(options.dataDirectory)
  const dataDirectory = realpathSync(options.dataDirectory)
  const run = join(dataDirectory, 'run')
  const users = join(run, 'users')
  const locked = async <T>(work: () => Promise<T>): Promise<T> => {
    const lock = await waitForLock(run, 'postgres', lockPatience)
    try {
      return await work()
    } finally {
      lock.release()
    }
  }

  let up = await locked(async () => {
    const state = await bringUp({ ...options, dataDirectory })
    enter(users, options.use)
    return state
  })
  const started = up.started
  const watch = keepUp(
    () => up.postmaster,
    async () => {
      if (options.use === 'guest' && others(users).some((other) => other.use === 'unit')) return
      await locked(async () => {
        up = await bringUp({ ...options, dataDirectory, port: up.postmaster.port })
      })
      if (up.started) options.say('PostgreSQL had ended unexpectedly and was started again')
    },
    options.say,
  )

  const close = async () => {
    await watch.stop()
    await locked(async () => {
      leave(users, options.use)
      const rest = others(users)
      if (options.use === 'unit' || (rest.length === 0 && !stays(run))) await stopPostmaster(up.postmaster)
    })
  }
  const login = { user: 'rollcall', password: up.passwords.rollcall, database: 'rollcall' }
  return {
    connection: clientOptions(up.endpoint, login) as unknown as Embedded['connection'],
    postmaster: () => up.postmaster,
    started,
    root: up.place.root,
    hasUnit: () => options.use === 'unit' || others(users).some((other) => other.use === 'unit'),
    certify: (make) =>
      locked(async () => {
        const account = chooseAccount(options.account, up.place.data)
        if (await replaceCertificate(up.place, account, make)) process.kill(up.postmaster.pid, 'SIGHUP')
      }),
    closeAdvisoryLocks: (database) =>
      withClient(up.endpoint, { user: 'postgres', password: up.passwords.superuser, database }, closeAdvisoryLocks),
    close,
  }
}

type Up = { postmaster: Postmaster; endpoint: Endpoint; passwords: Passwords; place: Place; started: boolean }

async function bringUp(options: EmbeddedOptions): Promise<Up> {
  const { dataDirectory, say } = options
  const running = await settle(findPlace(dataDirectory).data)
  const account = chooseAccount(options.account, findPlace(dataDirectory).data)
  const place = running ? findPlace(dataDirectory) : await preparePlace(dataDirectory, account, say)
  const passwords = preparePasswords(place)
  const postmaster = running ?? (await start(options, place, account, passwords))
  if (running && options.door) sayIfClosed(options, place)
  const endpoint = { port: postmaster.port, sockets: place.sockets, certificateFile: certificateFile(place) }
  const login = { user: 'postgres', password: passwords.superuser, database: 'postgres' }
  await untilItAnswers(endpoint, login)
  await withClient(endpoint, login, (sql) => provision(sql, passwords.rollcall))
  return { postmaster, endpoint, passwords, place, started: !running }
}

async function start(
  options: EmbeddedOptions,
  place: Place,
  account: Account | undefined,
  passwords: Passwords,
): Promise<Postmaster> {
  const program = await prepareProgram(place.root, account, options.say)
  await initialize(place, program, account, passwords.superuser)
  await prepareCertificate(place, account, options.certificate)
  noteStay(join(options.dataDirectory, 'run'), options.stays === true)
  if (account?.name === 'nobody') {
    options.say(
      'PostgreSQL runs as "nobody", which other services may share: make an account for it (useradd --system rollcall)',
    )
  }
  return startOnPort(options, place, program, account)
}

async function startOnPort(
  options: EmbeddedOptions,
  place: Place,
  program: Program,
  account: Account | undefined,
): Promise<Postmaster> {
  const { listen, settings: extra = {} } = options
  const file = join(place.data, 'postgresql.conf')
  for (let attempt = 1; ; attempt++) {
    const port = await choosePort(options, file)
    const conf = postgresqlConf({ listen, port, sockets: place.sockets, memory: memoryHere(), extra })
    writeWhole(file, conf, { account })
    writeWhole(join(place.data, 'pg_hba.conf'), hbaConf(options.door), { account })
    try {
      return await startPostmaster(place, program, account)
    } catch (error) {
      // Somebody may have taken it since: what PostgreSQL says of it is in a log of its own.
      if (attempt === 5 || (await isFree(port, listen))) throw error
    }
  }
}

// Whoever else uses it looks for it where it was before.
async function choosePort({ port, listen }: EmbeddedOptions, file: string): Promise<number> {
  if (port) {
    if (await isFree(port, listen)) return port
    throw new Error(
      `PostgreSQL's port ${port} is in use by another program: stop that, or choose another one by ROLLCALL_POSTGRES_PORT or in ROLLCALL_DATASTORE_ADDRESS`,
    )
  }
  const last = existsSync(file) ? portIn(readFileSync(file, 'utf8')) : undefined
  return last && (await isFree(last, listen)) ? last : freePort()
}

// 0 where the operating system does not say what it allows.
const memoryHere = (): number => Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY)

// Whoever started it before may not have known yet: only its next start opens the door.
function sayIfClosed({ door, say }: EmbeddedOptions, place: Place): void {
  if (readFileSync(join(place.data, 'pg_hba.conf'), 'utf8') === hbaConf(door)) return
  say(
    'PostgreSQL was started with other settings and is not open to nodes: stop all that uses it, `rollcall postgres` first',
  )
}

function keepUp(current: () => Postmaster, restart: () => Promise<void>, say: (message: string) => void) {
  let busy: Promise<void> | undefined
  let wait = 0
  const check = async () => {
    const { pid, identity } = current()
    if (isAlive(pid, identity)) {
      wait = 0
      return
    }
    if (wait-- > 0) return
    try {
      await restart()
    } catch (error) {
      wait = 5
      say(`PostgreSQL ended and could not be started again: ${(error as Error).message}`)
    }
  }
  const timer = setInterval(() => {
    busy ??= check().finally(() => {
      busy = undefined
    })
  }, watchEvery)
  timer.unref()
  return {
    stop: async () => {
      clearInterval(timer)
      await busy
    },
  }
}
