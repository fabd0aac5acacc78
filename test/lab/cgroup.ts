import { mkdir, readdir, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { command } from './command.ts'

/** `enter` goes before the words of a command to start it inside. */
export type Cgroup = { enter: string[]; remove: () => Promise<void> }

let mounted: Promise<string> | undefined

// A mount of our own: whether and where the machine mounts cgroup2 differs. The groups themselves are the machine's, so they are removed.
async function hierarchy(): Promise<string> {
  const dir = '/run/netns/.cgroup'
  await mkdir(dir)
  await command('mount', ['-t', 'cgroup2', 'cgroup2', dir])
  return dir
}

/** A cgroup of its own for what is started through `enter`. */
export async function makeCgroup(name: string): Promise<Cgroup> {
  mounted ??= hierarchy()
  const path = join(await mounted, `rollcall-lab-${process.env.ROLLCALL_LAB_ID}-${name}`)
  await mkdir(path, { recursive: true })
  return { enter: ['-c', 'echo 0 >"$0" && exec "$@"', join(path, 'cgroup.procs')], remove: () => removeTree(path) }
}

async function removeTree(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => [])
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(path, entry.name))
  // Busy for a moment after its last process was killed.
  for (let tries = 0; tries < 50; tries++) {
    if (
      await rmdir(path).then(
        () => true,
        () => false,
      )
    )
      return
    await sleep(20)
  }
}
