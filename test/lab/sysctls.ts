import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

// What systemd as PID 1 would set for the whole machine, were it allowed to (sysctl.d(5); fs.nr_open and fs.file-max by itself).
const names =
  /^(?:nr_open|file-max|protected_.*|suid_dumpable|core_pattern|core_uses_pid|sysrq|pid_max|kptr_restrict|panic.*|max_map_count|overcommit.*)$/

/** The machine's own settings that a box must not change, one `path value` a line. */
export async function sysctls(): Promise<string[]> {
  const lines: string[] = []
  for (const dir of ['/proc/sys/fs', '/proc/sys/kernel', '/proc/sys/vm']) {
    for (const name of (await readdir(dir)).filter((entry) => names.test(entry))) {
      const value = await readFile(join(dir, name), 'utf8').catch(() => undefined)
      if (value !== undefined) lines.push(`${join(dir, name)} ${value.trim()}`)
    }
  }
  return lines
}
