import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { access, appendFile, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { makeCgroup } from './cgroup.ts'
import { command } from './command.ts'
import { type Console, openConsole } from './console.ts'
import { boxAddress, plugIn, plugOut } from './network.ts'
import { mountOverlay, type Overlay } from './overlay.ts'

const init = fileURLToPath(new URL('box-init.sh', import.meta.url))

export type Ending = 'off' | 'reboot' | 'cut'

/** One device of the lab: an overlay for a disk, namespaces for a machine, its own systemd as PID 1. */
export class Box {
  readonly n: number
  readonly serial: string
  readonly dir: string
  readonly ip: string
  boots = 0
  readonly #overlay: Overlay
  readonly #console: Console
  #process: ChildProcess | undefined
  #ending: Promise<Ending> | undefined
  #cut = false

  private constructor(n: number, serial: string, dir: string, overlay: Overlay, console: Console) {
    this.n = n
    this.serial = serial
    this.dir = dir
    this.ip = boxAddress(n).ip
    this.#overlay = overlay
    this.#console = console
  }

  /** A factory-fresh box: its disk is an empty upper folder over `lowers` (topmost first). */
  static async unpack(n: number, serial: string, dir: string, lowers: readonly string[]): Promise<Box> {
    await mkdir(dir, { recursive: true })
    const console = await openConsole(join(dir, 'console'))
    return new Box(n, serial, dir, await mountOverlay(dir, lowers), console)
  }

  /** The disk, as seen from outside, whether the box runs or not. */
  path(file: string): string {
    return join(this.#overlay.root, file)
  }

  /** A file of the running box, tmpfs included. */
  async livePath(file: string): Promise<string> {
    return join('/proc', String(await this.#pid1()), 'root', file)
  }

  /** Power on. */
  async start(): Promise<void> {
    this.boots++
    this.#cut = false
    const netns = await plugIn(this.n)
    await mkdir(join(this.dir, 'class'), { recursive: true })
    await appendFile(join(this.dir, 'console'), `\n==== ${this.serial}: boot ${this.boots}\n`)
    const group = await makeCgroup(`box${this.n}`)
    const log = openSync(join(this.dir, 'init.log'), 'a')
    const unshare = ['unshare', '--mount', '--pid', '--uts', '--ipc', '--cgroup', '--fork', '--kill-child']
    const inner = ['sh', init, this.#overlay.root, this.dir, this.#console.tty, this.serial]
    const started = spawn('sh', [...group.enter, 'ip', 'netns', 'exec', netns, ...unshare, ...inner], {
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    this.#process = started
    this.#ending = once(started, 'exit').then(async ([, signal]) => {
      await plugOut(this.n)
      await group.remove()
      // A PID namespace whose init asks for a restart dies by SIGHUP, for power off by SIGINT (reboot(2)).
      return this.#cut ? 'cut' : signal === 'SIGHUP' ? 'reboot' : 'off'
    })
  }

  /** How the present boot ends. */
  get ending(): Promise<Ending> {
    if (!this.#ending) throw new Error(`${this.serial} was never started`)
    return this.#ending
  }

  get running(): boolean {
    return this.#process?.exitCode === null && this.#process.signalCode === null
  }

  /** Power cut: every process of the box dies at once. */
  async cut(): Promise<void> {
    if (!this.running) return
    this.#cut = true
    process.kill(await this.#pid1(), 'SIGKILL')
    await this.ending
  }

  /** Power button: systemd stops everything, then powers off. */
  async powerOff(): Promise<void> {
    // SIGRTMIN+4 starts poweroff.target (systemd(1)); Node has no name for it.
    await command('kill', ['-s', 'RTMIN+4', String(await this.#pid1())])
    const ending = await Promise.race([this.ending, sleep(20_000, 'late' as const)])
    if (ending === 'late') await this.cut()
  }

  /** Throws the box away. */
  async scrap(): Promise<void> {
    await this.cut()
    this.#console.close()
    await this.#overlay.unmount()
  }

  async has(file: string): Promise<boolean> {
    const found = (path: string) =>
      access(path).then(
        () => true,
        () => false,
      )
    return (await found(this.path(file))) || (this.running && found(await this.livePath(file)))
  }

  console(): Promise<string> {
    return readFile(join(this.dir, 'console'), 'utf8')
  }

  // The only child of unshare, which is what `sh` and `ip` became.
  async #pid1(): Promise<number> {
    const outer = this.#process?.pid
    for (let tries = 0; tries < 200 && this.running; tries++) {
      const children = await readFile(`/proc/${outer}/task/${outer}/children`, 'utf8').catch(() => '')
      if (children.trim()) return Number(children.trim().split(' ')[0])
      await sleep(10)
    }
    throw new Error(`${this.serial} is not running`)
  }
}
