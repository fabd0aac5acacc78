import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Account, asAccount } from './account.ts'
import { findPostmaster, misleadingLocks, type Postmaster, workersIn } from './pid-file.ts'
import type { Place } from './place.ts'
import { isAlive } from './process-identity.ts'
import type { Program } from './program.ts'
import { tail } from './run.ts'

/** Milliseconds. Recovery after a power cut may take minutes; a shutdown writes a checkpoint first. */
const patience = { start: 600_000, leftovers: 20_000, fast: 60_000, immediate: 10_000 } as const

/**
 * Starts a postmaster in a session of its own, so that a Ctrl-C for us is not one for it, and waits until it answers.
 * @throws Error with what PostgreSQL said
 */
export async function startPostmaster(
  place: Place,
  program: Program,
  account: Account | undefined,
): Promise<Postmaster> {
  const deadline = Date.now() + patience.leftovers
  for (;;) {
    await clearLeftovers(place)
    const log = join(place.root, 'start.log')
    const child = launch(place, program, account, log)
    const found = await ready(child, place.data)
    if (found) return found
    const said = readFileSync(log, 'utf8')
    // Backends of a killed postmaster hold its shared memory until they have noticed; and it may end while we look.
    if (!/still in use|"postmaster\.pid" already exists/.test(said) || Date.now() > deadline) {
      const why = /redirecting log output/.test(said) ? undefined : tail(said)
      throw new Error(`PostgreSQL did not start at ${place.data}: ${why || `see ${join(place.data, 'log')}`}`)
    }
    await sleep(250)
  }
}

/** Stops a postmaster: sessions end at once, data is written. @throws Error if it does not end */
export async function stopPostmaster({ pid, identity }: Postmaster): Promise<void> {
  for (const [signal, limit] of [
    ['SIGINT', patience.fast],
    ['SIGQUIT', patience.immediate],
  ] as const) {
    if (!isAlive(pid, identity)) return
    process.kill(pid, signal)
    if (await gone(pid, identity, limit)) return
  }
  throw new Error(`PostgreSQL (process ${pid}) does not stop`)
}

/** Waits until a postmaster that is starting answers, or one that is stopping has ended. */
export async function settle(data: string): Promise<Postmaster | undefined> {
  const deadline = Date.now() + patience.start
  for (;;) {
    const found = findPostmaster(data)
    if (!found || found.status === 'ready') return found
    if (Date.now() > deadline)
      throw new Error(`PostgreSQL (process ${found.pid}) has been ${found.status} for too long`)
    await sleep(50)
  }
}

// PostgreSQL itself tells a dead pid from a living one, and checks shared memory: its files are only removed when their pid stands
// for no postmaster, and nothing works in PGDATA any more.
async function clearLeftovers({ data, sockets }: Place): Promise<void> {
  const misleading = misleadingLocks(data, sockets)
  if (misleading.length === 0) return
  const deadline = Date.now() + patience.leftovers
  for (let left = workersIn(data); left.length > 0; left = workersIn(data)) {
    if (Date.now() > deadline) throw new Error(`Processes ${left.join(', ')} of a killed PostgreSQL still use ${data}`)
    await sleep(100)
  }
  for (const file of misleading) rmSync(file, { force: true })
}

function launch(place: Place, program: Program, account: Account | undefined, log: string): ChildProcess {
  rmSync(log, { force: true })
  const fd = openSync(log, 'w', 0o600)
  try {
    const child = spawn(program.postgres, ['-D', place.data], {
      ...asAccount(account),
      env: program.env,
      cwd: '/',
      detached: true,
      stdio: ['ignore', fd, fd],
    })
    child.once('error', () => {})
    child.unref()
    return child
  } finally {
    closeSync(fd)
  }
}

async function ready(child: ChildProcess, data: string): Promise<Postmaster | undefined> {
  const deadline = Date.now() + patience.start
  while (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
    const found = findPostmaster(data)
    if (found?.pid === child.pid && found.status === 'ready') return found
    if (Date.now() > deadline) {
      child.kill('SIGQUIT')
      throw new Error(`PostgreSQL at ${data} did not become ready within ${patience.start / 60_000} minutes`)
    }
    await sleep(15)
  }
  return undefined
}

async function gone(pid: number, identity: string, limit: number): Promise<boolean> {
  const deadline = Date.now() + limit
  while (Date.now() < deadline) {
    if (!isAlive(pid, identity)) return true
    await sleep(15)
  }
  return false
}
