import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { command } from './command.ts'

/** A root file system under the upper folder of others; the ones below are never written. */
export type Overlay = { root: string; upper: string; unmount: () => Promise<void> }

/**
 * Mounts an overlay at `dir`/root.
 * @param lowers topmost first
 */
export async function mountOverlay(dir: string, lowers: readonly string[]): Promise<Overlay> {
  const [root, upper, work] = ['root', 'upper', 'work'].map((name) => join(dir, name)) as [string, string, string]
  for (const path of [root, upper, work]) await mkdir(path, { recursive: true })
  const options = `lowerdir=${lowers.join(':')},upperdir=${upper},workdir=${work}`
  await command('mount', ['-t', 'overlay', 'overlay', '-o', options, root])
  return { root, upper, unmount: async () => void (await command('umount', ['-l', root])) }
}

/** Makes a layer once: `change` edits the mounted root; the answer is a lower folder for further overlays. */
export async function makeLayer(
  dir: string,
  lowers: readonly string[],
  change: (root: string) => Promise<void>,
): Promise<string> {
  const overlay = await mountOverlay(dir, lowers)
  try {
    await change(overlay.root)
  } finally {
    await overlay.unmount()
  }
  return overlay.upper
}
