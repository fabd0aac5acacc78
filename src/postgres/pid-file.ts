import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { identify } from './process-identity.ts'

/** What a postmaster says about itself in `postmaster.pid` (miscadmin.h, LOCK_FILE_LINE_*). */
export type Postmaster = {
  pid: number
  /** Of the process, so that a reused pid is told apart */
  identity: string
  port: number
  sockets: string
  status: 'starting' | 'stopping' | 'ready' | 'standby'
}

export const pidFile = (data: string) => join(data, 'postmaster.pid')

/** The living postmaster of this PGDATA, if there is one. A stale file, or one that names a foreign process, counts as none. */
export function findPostmaster(data: string): Postmaster | undefined {
  const lines = readLines(pidFile(data))
  const pid = pidIn(lines)
  const identity = identify(pid)
  if (!identity || !worksIn(pid, data)) return undefined
  const status = (lines[7]?.trim() || 'starting') as Postmaster['status']
  return { pid, identity, port: Number(lines[3]), sockets: lines[4] ?? '', status }
}

/**
 * Lock files, of PGDATA and of sockets, whose pid is no postmaster's of this PGDATA, yet found by kill(2), so that PostgreSQL refuses to
 * start (miscinit.c, CreateLockFile): another process has it now, or it is a killed postmaster's for which its parent has not waited.
 * @param sockets the directory of this PGDATA's sockets, and nobody else's. Linux only, else none.
 */
export function misleadingLocks(data: string, sockets: string): string[] {
  if (process.platform !== 'linux') return []
  const ofSockets = readdirSync(sockets).filter((name) => /^\.s\.PGSQL\.\d+\.lock$/.test(name))
  return [pidFile(data), ...ofSockets.map((name) => join(sockets, name))].filter((file) => {
    const pid = pidIn(readLines(file))
    // A process that has ended works nowhere.
    return existsSync(`/proc/${pid}`) && !worksIn(pid, data)
  })
}

/** Processes that work in this PGDATA: what a killed postmaster leaves behind for a moment. Linux only, else none. */
export function workersIn(data: string): number[] {
  if (process.platform !== 'linux') return []
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => pid !== process.pid && worksIn(pid, data))
}

// Postgres and all its children work in PGDATA. Elsewhere than on Linux there is no cheap way to ask: the pid decides.
function worksIn(pid: number, data: string): boolean {
  if (process.platform !== 'linux') return true
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(data)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES' && looksLikeOurs(pid, data)
  }
}

// Root without CAP_SYS_PTRACE, as in Docker's containers, may not see where another account's process works (proc(5)): what is called postgres and
// runs as the owner of PGDATA is taken for one of its own, so that nothing is removed under it.
function looksLikeOurs(pid: number, data: string): boolean {
  try {
    return (
      readFileSync(`/proc/${pid}/comm`, 'utf8') === 'postgres\n' && statSync(`/proc/${pid}`).uid === statSync(data).uid
    )
  } catch {
    return false
  }
}

// Negative where a single-user PostgreSQL wrote it.
const pidIn = (lines: string[]): number => Math.abs(Number(lines[0]))

function readLines(path: string): string[] {
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n') : []
}
