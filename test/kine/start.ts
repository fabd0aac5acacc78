import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { KeyValueClient } from './client.ts'
import { findKine, type KineVersion, whyNoKine } from './program.ts'

export type KineOptions = {
  /** As in K3s' `datastore-endpoint`; nothing = SQLite in `directory` */
  endpoint?: string
  /** File of the authority that vouches for the datastore */
  cafile?: string
  version?: KineVersion
  /** Where it runs, and where SQLite's file is; a temporary one by itself */
  directory?: string
  /** E.g. KINE_DATASTORE_MAX_OPEN_CONNECTIONS */
  env?: NodeJS.ProcessEnv
  /** What it says when it will never answer: kine itself tries a refused login for five minutes */
  refusal?: RegExp
}

export type Kine = {
  process: ChildProcess
  /** `unix:///…`, where it answers etcd's calls without TLS */
  address: string
  client: KeyValueClient
  /** What it said so far */
  out: () => string
  stop: () => Promise<void>
}

const living = new Set<ChildProcess>()
// A test that throws leaves no process behind.
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

/**
 * Starts the real kine and waits until it answers. Tests ask `findKine()` first, and say `whyNoKine` without.
 * @throws Error with kine's last words if it ends instead, as in a lost first-start race, or does not answer in time
 */
export async function startKine(options: KineOptions = {}): Promise<Kine> {
  const program = findKine(options.version)
  if (!program) throw new Error(whyNoKine('startKine', options.version))
  // Short: a socket's path has 108 bytes at most.
  const home = mkdtempSync(join(tmpdir(), 'kine-'))
  const socket = join(home, 'kine.sock')
  const args = ['--listen-address', `unix://${socket}`, '--metrics-bind-address', '0']
  if (options.endpoint) args.push('--endpoint', options.endpoint)
  if (options.cafile) args.push('--ca-file', options.cafile)
  const child = spawn(program, args, {
    cwd: options.directory ?? home,
    env: { PATH: process.env.PATH, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  living.add(child)
  let out = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (out += chunk))
  const ended = once(child, 'exit').then(() => {
    living.delete(child)
    rmSync(home, { recursive: true, force: true })
  })
  const client = new KeyValueClient(`unix://${socket}`)
  const stop = async () => {
    client.close()
    child.kill('SIGTERM')
    // It is deaf while it waits for its datastore.
    const deaf = setTimeout(() => child.kill('SIGKILL'), 3_000)
    await ended
    clearTimeout(deaf)
  }
  const refused = () => options.refusal?.test(out) ?? false
  if (!(await Promise.race([untilReady(socket, client, refused), ended.then(() => false)]))) {
    await stop()
    throw new Error(`kine does not answer: ${out.trim().split('\n').at(-1)}`)
  }
  return { process: child, address: `unix://${socket}`, client, out: () => out, stop }
}

async function untilReady(socket: string, client: KeyValueClient, refused: () => boolean): Promise<boolean> {
  for (const end = Date.now() + 30_000; Date.now() < end && !refused(); await sleep(50)) {
    if (existsSync(socket) && (await answers(client))) return true
  }
  return false
}

const answers = (client: KeyValueClient) =>
  client.get('/registry/health').then(
    () => true,
    () => false,
  )
