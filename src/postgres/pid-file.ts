import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
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
  const pid = Math.abs(Number(lines[0]))
  const identity = identify(pid)
  if (!identity || !worksIn(pid, data)) return undefined
  const status = (lines[7]?.trim() || 'starting') as Postmaster['status']
  return { pid, identity, port: Number(lines[3]), sockets: lines[4] ?? '', status }
}

/** The pid in a stale file belongs to another living process: PostgreSQL would refuse to start because of it. */
export function namesStranger(data: string): boolean {
  const pid = Math.abs(Number(readLines(pidFile(data))[0]))
  return identify(pid) !== undefined && !worksIn(pid, data)
}

/** Processes that work in this PGDATA: what a killed postmaster leaves behind for a moment. Linux only, else none. */
export function workersIn(data: string): number[] {
  if (process.platform !== 'linux') return []
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => pid !== process.pid && worksIn(pid, data) && identify(pid) !== undefined)
}

// Postgres and all its children work in PGDATA. Elsewhere than on Linux there is no cheap way to ask: the pid decides.
function worksIn(pid: number, data: string): boolean {
  if (process.platform !== 'linux') return true
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(data)
  } catch {
    return false
  }
}

function readLines(path: string): string[] {
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n') : []
}
