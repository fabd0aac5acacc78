import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { holderOf, me } from './lock.ts'
import { writeWhole } from './small-file.ts'

/**
 * How a process uses the embedded PostgreSQL. A `unit` (`rollcall postgres`) keeps it up for all others; without one, whoever
 * comes first starts it, and the last living user stops it, even if another process, killed since, had started it.
 */
export type Use = 'unit' | 'guest'

// To its end: one that is being written has another name until it is whole.
const note = /^(\d+)\.(unit|guest)$/

/** Notes that this process uses the PostgreSQL of this directory. */
export function enter(directory: string, use: Use): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  writeWhole(join(directory, `${process.pid}.${use}`), me(), { mode: 0o644 })
}

export function leave(directory: string, use: Use): void {
  rmSync(join(directory, `${process.pid}.${use}`), { force: true })
}

/** The other living processes that use it; notes of dead ones are removed. */
export function others(directory: string): { pid: number; use: Use }[] {
  const living: { pid: number; use: Use }[] = []
  for (const name of readdirSync(directory)) {
    const [, pid = '', use] = note.exec(name) ?? []
    if (!use || pid === String(process.pid)) continue
    const path = join(directory, name)
    if (holderOf(path)) living.push({ pid: Number(pid), use: use as Use })
    else rmSync(path, { force: true })
  }
  return living
}

/** Notes whether the PostgreSQL that is started now stays up when its last user leaves. */
export function noteStay(run: string, stay: boolean): void {
  if (stay) writeWhole(stayFile(run), '', { mode: 0o644 })
  else rmSync(stayFile(run), { force: true })
}

export const stays = (run: string): boolean => existsSync(stayFile(run))
const stayFile = (run: string) => join(run, 'postgres.stays')
