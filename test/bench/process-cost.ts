import { readdirSync, readFileSync } from 'node:fs'

/** Microseconds a tick of /proc/PID/stat: the kernel's USER_HZ is 100 everywhere that Node runs. */
const tick = 10_000

type Stat = { parent: number; own: number; reaped: number }

/** CPU that a process has used so far, in microseconds; Linux only. */
export function cpuOf(pid: number): number {
  return read(pid)?.own ?? 0
}

/** CPU of a process, of its living children and of those that it has waited for: all of a PostgreSQL. */
export function cpuOfFamily(pid: number): number {
  const stats = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => [Number(name), read(Number(name))] as const)
  return stats.reduce((sum, [id, stat]) => {
    if (id === pid) return sum + (stat ? stat.own + stat.reaped : 0)
    return stat?.parent === pid ? sum + stat.own : sum
  }, 0)
}

/** Resident memory of a process: now and at most, in MB. */
export function memoryOf(pid: number): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const of = (name: string) =>
    Math.round(Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) / 1024)
  return { now: of('VmRSS'), peak: of('VmHWM') }
}

function read(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name may hold spaces and parentheses: fields count from behind it.
    const fields = text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
    const [, parent = 0] = fields
    const at = (index: number) => (fields[index] ?? 0) * tick
    return { parent, own: at(11) + at(12), reaped: at(13) + at(14) }
  } catch {
    return undefined
  }
}
