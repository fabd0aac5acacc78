import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

let boot: string | undefined

/**
 * Names one run of one process, so that a reused pid is not taken for the old process.
 * @returns undefined if no such process lives (a zombie does not)
 */
export function identify(pid: number): string | undefined {
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined
  return process.platform === 'linux' ? fromProc(pid) : fromPs(pid)
}

/** Whether the process that `identify` named still lives. */
export function isAlive(pid: number, identity: string): boolean {
  return identify(pid) === identity
}

function fromProc(pid: number): string | undefined {
  const stat = read(`/proc/${pid}/stat`)
  // The name in parentheses may itself hold spaces and parentheses; state is field 3, start time field 22 (proc(5)).
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (!fields || 'ZXx'.includes(fields[0] ?? 'X')) return undefined
  boot ??= read('/proc/sys/kernel/random/boot_id')?.trim() ?? ''
  return `${boot}:${fields[19]}`
}

function fromPs(pid: number): string | undefined {
  try {
    const line = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim()
    return line === '' || line.startsWith('Z') ? undefined : line.replace(/^\S+\s+/, '')
  } catch {
    return undefined
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
