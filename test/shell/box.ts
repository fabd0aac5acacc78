import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DeviceServer } from '../fakes/device-server.ts'

/** The shells that a device may have. One that is missing here is said, not passed over in silence. */
export const shells = Object.entries({ dash: ['dash'], 'busybox ash': ['busybox', 'sh'], bash: ['bash'] }).filter(
  ([name, [program = '', ...args]]) => {
    const there = spawnSync(program, [...args, '-c', 'exit 0']).status === 0
    if (!there) console.log(`${name} is not installed: the scripts were not run under it`)
    return there
  },
)

export const template = (name: string) => fileURLToPath(new URL(`../../templates/${name}`, import.meta.url))

export type Ended = { code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string }
export type Running = { pid: number; ended: Promise<Ended>; kill: () => Promise<Ended>; stderr: () => string }

// Waits are written down and cut short; what they would have been is what a test asks for.
const sleep = '#!/bin/sh\necho "$1" >>"$BOX/sleeps"\nexec /bin/sleep 0.02\n'

// A clock of the box's own: `offset` seconds from the true one, set by `date -s @N` as root would.
const date = `#!/bin/sh
offset=$(cat "$BOX/offset" 2>/dev/null || echo 0)
case "$*" in
  +%s) echo $(($(/bin/date +%s) + offset)) ;;
  '-u -s @'*) n=$3 && echo "$((\${n#@} - $(/bin/date +%s)))" >"$BOX/offset" && echo "\${n#@}" >>"$BOX/clock-set" ;;
  *) exec /bin/date "$@" ;;
esac
`

/** The file descriptor of `handle`: the highest that a shell leaves to what it runs. */
export const shared = 9

/** A machine of files: its SMBIOS, its disk, its commands. */
export class Box {
  readonly root = mkdtempSync(join(tmpdir(), 'rollcall-box-'))
  readonly env: Record<string, string>
  /** A file that is open to everything that runs, under the number `shared` */
  handle: number | undefined

  constructor(server: Pick<DeviceServer, 'url' | 'pin'>) {
    this.env = {
      PATH: `${this.root}/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
      BOX: this.root,
      ROLLCALL_URL: server.url,
      ROLLCALL_PIN: server.pin,
      ROLLCALL_ENV: this.path('etc/rollcall/client.env'),
      ROLLCALL_STATE: this.path('state'),
      ROLLCALL_RUN: this.path('run'),
      ROLLCALL_DMI: this.path('dmi'),
      ROLLCALL_TREE: this.path('tree'),
      ROLLCALL_NET: this.path('net'),
      ROLLCALL_CONSOLE: this.path('console'),
    }
    this.command('sleep', sleep)
    this.command('date', date)
    // A killed process loses nothing of the page cache; only a machine does.
    this.command('sync', '#!/bin/sh\n')
    this.write('dmi/product_serial', 'SN-0001\n')
    this.write('dmi/product_uuid', '4C4C4544-0042-3510-8056-B4C04F4E3232\n')
    this.write('dmi/sys_vendor', 'Acme "Edge" \\ Co\n')
    this.write('net/eth0/address', '02:00:00:00:00:0A\n')
    this.write('net/eth0/device', '')
    this.write('net/br0/address', '02:00:00:00:00:0b\n')
  }

  path(name: string): string {
    return join(this.root, name)
  }

  read(name: string, encoding: BufferEncoding = 'utf8'): string {
    return readFileSync(this.path(name), encoding)
  }

  write(name: string, text: string, mode = 0o644): void {
    mkdirSync(dirname(this.path(name)), { recursive: true })
    writeFileSync(this.path(name), text, { mode })
  }

  delete(name: string): void {
    rmSync(this.path(name), { recursive: true })
  }

  /** Puts a command before the machine's own. */
  command(name: string, script: string): void {
    this.write(`bin/${name}`, script)
    chmodSync(this.path(`bin/${name}`), 0o755)
  }

  /** Seconds that were waited, in order. */
  sleeps(): number[] {
    return this.read('sleeps').trim().split('\n').map(Number)
  }

  start(shell: readonly string[], script: string, ...args: string[]): Running {
    const [program = '', ...options] = shell
    const none: 'ignore'[] = Array.from({ length: shared - 3 }, () => 'ignore')
    const child: ChildProcess = spawn(program, [...options, script, ...args], {
      env: program === 'busybox' ? this.#amongApplets() : this.env,
      cwd: this.root,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', ...(this.handle === undefined ? [] : [...none, this.handle])],
    })
    let stdout = ''
    let stderr = ''
    child.stdout?.on('data', (chunk) => (stdout += chunk))
    child.stderr?.on('data', (chunk) => (stderr += chunk))
    const ended = new Promise<Ended>((done, fail) => {
      child.once('error', fail)
      child.once('close', (code, signal) => done({ code, signal, stdout, stderr }))
    })
    const pid = child.pid as number
    const kill = () => {
      try {
        process.kill(-pid, 'SIGKILL')
      } catch {
        // It ended by itself: nothing is left to be killed.
      }
      return ended
    }
    return { pid, ended, kill, stderr: () => stderr }
  }

  /** A machine with busybox has its tools as well: the box's own commands, then busybox's, then curl and openssl. */
  #amongApplets(): Record<string, string> {
    const applets = this.path('applets')
    if (!existsSync(applets)) {
      mkdirSync(applets)
      spawnSync('busybox', ['--install', '-s', applets])
    }
    const [own, ...system] = (this.env.PATH ?? '').split(':')
    return { ...this.env, PATH: [own, applets, ...system].join(':') }
  }

  run(shell: readonly string[], script: string, ...args: string[]): Promise<Ended> {
    return this.start(shell, script, ...args).ended
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true })
  }
}

/** Waits until something is so; the suite's own limit ends what never comes. */
export async function until(so: () => boolean): Promise<void> {
  while (!so()) await new Promise((done) => setTimeout(done, 10))
}
