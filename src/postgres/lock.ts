import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { identify, isAlive } from './process-identity.ts'

export type Lock = { release: () => void }

/** Who has the lock. */
export type Holder = { pid: number }

// Node has no flock. A lock is `<name>.lock.<n>`, and the highest n counts: its holder lives, or it is free. Each taking makes
// n+1 by link(2), which only one process can; an emptied file is a lock given back. Nothing ever has to guess whether a
// file may be removed, so a killed holder blocks nobody and two takers never both win.
const pattern = /\.lock\.(\d{1,15})$/

/** Takes a lock, or says who has it. `directory` is made if need be. */
export function tryLock(directory: string, name: string): Lock | Holder {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  for (;;) {
    const top = highest(directory, name)
    const holder = top > 0 ? holderOf(file(directory, name, top)) : undefined
    if (holder) return holder
    const mine = file(directory, name, top + 1)
    if (!create(mine)) continue
    // Somebody slower may have made an n that had already come and gone: only the highest counts.
    if (highest(directory, name) === top + 1) {
      removeBelow(directory, name, top + 1)
      return { release: () => truncateSync(mine) }
    }
    rmSync(mine)
  }
}

/**
 * Takes a lock, waiting for whoever has it.
 * @param patience milliseconds
 * @throws Error if it is still held after that
 */
export async function waitForLock(directory: string, name: string, patience: number): Promise<Lock> {
  const deadline = Date.now() + patience
  for (;;) {
    const lock = tryLock(directory, name)
    if ('release' in lock) return lock
    if (Date.now() > deadline)
      throw new Error(`process ${lock.pid} has held ${join(directory, name)}.lock for too long`)
    await sleep(25)
  }
}

/** The line that names this process in a lock or lease file. */
export const me = () => `${process.pid} ${identify(process.pid)}\n`

/** The living process that a lock or lease file names. */
export function holderOf(path: string): Holder | undefined {
  const [, pid = '', identity = ''] = /^(\d+) (.+)\n$/.exec(readOrEmpty(path)) ?? []
  return isAlive(Number(pid), identity) ? { pid: Number(pid) } : undefined
}

const file = (directory: string, name: string, n: number) => join(directory, `${name}.lock.${n}`)

function highest(directory: string, name: string): number {
  return Math.max(0, ...numbers(directory, name))
}

function numbers(directory: string, name: string): number[] {
  return readdirSync(directory)
    .filter((entry) => entry.startsWith(`${name}.lock.`))
    .map((entry) => Number(pattern.exec(entry)?.[1] ?? 0))
}

function create(path: string): boolean {
  const temporary = `${path}.${process.pid}`
  // Readable for all: a holder that cannot be read would count as dead.
  writeFileSync(temporary, me(), { mode: 0o644 })
  try {
    linkSync(temporary, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    rmSync(temporary)
  }
}

function removeBelow(directory: string, name: string, top: number): void {
  for (const n of numbers(directory, name)) if (n > 0 && n < top) rmSync(file(directory, name, n), { force: true })
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
