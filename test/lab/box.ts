import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { access, appendFile, mkdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { makeCgroup } from './cgroup.ts'
import { command } from './command.ts'
import { type Console, openConsole } from './console.ts'
import { boxAddress, plugIn, plugOut } from './network.ts'
import { mountOverlay, type Overlay } from './overlay.ts'

const init = fileURLToPath(new URL('box-init.sh', import.meta.url))

/** One device of the lab: an overlay for a disk, namespaces for a machine, its own systemd as PID 1. */
export class Box {
  readonly n: number
  readonly serial: string
  readonly dir: string
  readonly ip: string
  /** How often it was started, by us or by its own restart. */
  boots = 0
  readonly #overlay: Overlay
  readonly #console: Console
  #process: ChildProcess | undefined
  #off: Promise<void> = Promise.resolve()
  #powered = false

  private constructor(n: number, serial: string, dir: string, overlay: Overlay, console: Console) {
    this.n = n
    this.serial = serial
    this.dir = dir
    this.ip = boxAddress(n).ip
    this.#overlay = overlay
    this.#console = console
  }

  /**
   * A factory-fresh box: its disk is an empty upper folder over `lowers` (topmost first).
   * @param disk another box, powered off, whose disk this one gets a copy of
   */
  static async unpack(n: number, serial: string, dir: string, lowers: readonly string[], disk?: Box): Promise<Box> {
    await mkdir(join(dir, 'class/dmi/id'), { recursive: true })
    const [, a, b, c, d, e] =
      /^(.{8})(.{4})(.{4})(.{4})(.{12})/.exec(createHash('sha256').update(serial).digest('hex')) ?? []
    const uuid = [a, b, c, d, e].join('-')
    const firmware = { product_serial: serial, product_uuid: uuid, product_name: 'Box', sys_vendor: 'Lab' }
    for (const [name, value] of Object.entries(firmware)) {
      await writeFile(join(dir, 'class/dmi/id', name), `${value}\n`, { mode: 0o400 })
    }
    if (disk) await command('cp', ['-a', disk.#overlay.upper, join(dir, 'upper')])
    const console = await openConsole(join(dir, 'console'))
    return new Box(n, serial, dir, await mountOverlay(dir, lowers), console)
  }

  /** The disk, as seen from outside, whether the box runs or not. */
  path(file: string): string {
    return join(this.#overlay.root, file)
  }

  /** What the box's own programs see at `file`: its tmpfs too. */
  async livePath(file: string): Promise<string> {
    const root = join('/proc', String(await this.#pid1()), 'root')
    // Until it has become systemd (box-init.sh) its root is the machine's own.
    while ((await readlink(root)) === '/') await sleep(10)
    return join(root, file)
  }

  /** The firmware's files, for programs that run outside on the box's behalf. */
  get firmware(): string {
    return join(this.dir, 'class/dmi/id')
  }

  /** Power on. It stays on through its own restarts, until `cut`, or until it powers itself off. */
  async start(): Promise<void> {
    this.#powered = true
    await this.#boot()
  }

  get running(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null
  }

  /** Power cut: every process of the box dies at once. */
  async cut(): Promise<void> {
    this.#powered = false
    if (this.running) process.kill(await this.#pid1(), 'SIGKILL')
    await this.#off
  }

  /** Power button: systemd stops everything, then powers off. */
  async powerOff(): Promise<void> {
    // SIGRTMIN+4 starts poweroff.target (systemd(1)); Node has no name for it.
    await command('kill', ['-s', 'RTMIN+4', String(await this.#pid1())])
    await Promise.race([this.#off, sleep(20_000, undefined, { ref: false })])
    await this.cut()
  }

  /** Throws the box away. */
  async scrap(): Promise<void> {
    await this.cut()
    this.#console.close()
    await this.#overlay.unmount()
  }

  async has(file: string): Promise<boolean> {
    return (await exists(this.path(file))) || (this.running && exists(await this.livePath(file).catch(() => '')))
  }

  /** A file of the disk, or undefined. */
  read(file: string): Promise<string | undefined> {
    return readFile(this.path(file), 'utf8').catch(() => undefined)
  }

  /** Everything that it ever wrote to its console, all boots. */
  console(): Promise<string> {
    return readFile(join(this.dir, 'console'), 'utf8')
  }

  async #boot(): Promise<void> {
    this.boots++
    const netns = await plugIn(this.n)
    await appendFile(join(this.dir, 'console'), `\n==== ${this.serial}: boot ${this.boots}\n`)
    const group = await makeCgroup(`box${this.n}`)
    const log = openSync(join(this.dir, 'init.log'), 'a')
    const unshare = ['unshare', '--mount', '--pid', '--uts', '--ipc', '--cgroup', '--fork', '--kill-child']
    const inner = ['sh', init, this.#overlay.root, this.dir, this.#console.tty]
    const started = spawn('sh', [...group.enter, 'ip', 'netns', 'exec', netns, ...unshare, ...inner], {
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    this.#process = started
    this.#off = once(started, 'exit').then(async ([, signal]) => {
      await plugOut(this.n)
      await group.remove()
      // A PID namespace whose init asks for a restart dies by SIGHUP, for power off by SIGINT (reboot(2)).
      if (signal === 'SIGHUP' && this.#powered) {
        await this.#boot()
        await this.#off
      }
    })
    // Whoever waits for the end gets the error; nobody may be waiting now.
    this.#off.catch(() => {})
  }

  // The only child of unshare, which is what `sh` and `ip` became.
  async #pid1(): Promise<number> {
    for (let tries = 0; tries < 200 && this.running; tries++) {
      const outer = this.#process?.pid
      const children = await readFile(`/proc/${outer}/task/${outer}/children`, 'utf8').catch(() => '')
      if (children.trim()) return Number(children.trim().split(' ')[0])
      await sleep(10)
    }
    throw new Error(`${this.serial} is not running`)
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
