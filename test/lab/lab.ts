import type { ChildProcess } from 'node:child_process'
import { copyFile, mkdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { Box } from './box.ts'
import { command } from './command.ts'
import { prepareFactoryRoot, type Suite, suites } from './factory.ts'
import { Line } from './line.ts'
import { startNetwork } from './network.ts'
import { makeLayer } from './overlay.ts'

/** Lower folders of a kind of box, topmost first. */
export type Layers = readonly string[]

/** The ground that boxes stand on: root file systems, a network, a line to the server. */
export class Lab {
  readonly dir: string
  readonly line: Line
  /** Where the line leads; set it once the server listens. */
  target = { host: '127.0.0.1', port: 0 }
  readonly #dhcp: ChildProcess
  readonly #factory: Record<Suite, Layers>
  #boxes = 0
  #disks = 0

  private constructor(dir: string, line: Line, dhcp: ChildProcess, factory: Record<Suite, Layers>) {
    this.dir = dir
    this.line = line
    this.#dhcp = dhcp
    this.#factory = factory
  }

  /** @param dir an empty folder; it becomes a tmpfs, since an overlay's upper folder cannot lie on an overlay, as in many CI machines */
  static async open(dir: string, cache: string): Promise<Lab> {
    await mkdir(dir, { recursive: true })
    await command('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', dir])
    const dhcp = await startNetwork(dir)
    const layers = suites.map(async (suite) => {
      const base = await realpath(join(cache, suite))
      return [suite, [await makeLayer(join(dir, `factory-${suite}`), [base], prepareFactoryRoot), base]] as const
    })
    const factory = Object.fromEntries(await Promise.all(layers)) as unknown as Record<Suite, Layers>
    let lab: Lab
    const line = await Line.open(() => lab.target)
    lab = new Lab(dir, line, dhcp, factory)
    return lab
  }

  /** An image: the factory root of `suite` after `change`. */
  async image(name: string, suite: Suite, change: (root: string) => Promise<void>): Promise<Layers> {
    const below = this.#factory[suite]
    return [await makeLayer(join(this.dir, `image-${name}`), below, change), ...below]
  }

  /** A factory-fresh box with that image; its serial is made of `name` and a number. With `disk`, its disk is a copy of that box's. */
  async unpack(name: string, image: Layers, disk?: Box): Promise<Box> {
    const n = ++this.#boxes
    return Box.unpack(n, `LAB-${name}-${n}`.toUpperCase(), join(this.dir, `box-${n}`), image, disk)
  }

  /** The same machine with a factory-fresh disk; the former one must be off. */
  async reinstall(box: Box, image: Layers): Promise<Box> {
    await box.scrap()
    return Box.unpack(box.n, box.serial, join(this.dir, `box-${box.n}-${++this.#disks}`), image)
  }

  /** Copies files of a failed case to where they outlive the lab. */
  async keep(files: readonly string[], to: string): Promise<void> {
    await mkdir(to, { recursive: true })
    for (const file of files) {
      await copyFile(file, join(to, file.slice(this.dir.length + 1).replaceAll('/', '-'))).catch(() => {})
    }
  }

  close(): void {
    this.line.close()
    this.#dhcp.kill()
  }
}
