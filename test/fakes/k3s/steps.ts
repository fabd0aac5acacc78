import { appendFileSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Marks a point of the way in /var/lib/k3s-sim/steps, and stays there while a file of that name lies in /var/lib/k3s-sim/hold: tests cut the power
 * at exactly such a point.
 */
export async function reach(root: string, step: string): Promise<void> {
  const folder = join(root, 'var/lib/k3s-sim')
  mkdirSync(folder, { recursive: true })
  appendFileSync(join(folder, 'steps'), `${step}\n`)
  while (existsSync(join(folder, 'hold', step))) await sleep(20)
}
