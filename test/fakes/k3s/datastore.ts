import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { KeyValueClient } from '../../kine/client.ts'
import { type Config, text } from './config.ts'

export type Datastore = {
  client: KeyValueClient
  /** Settles with kine's last words when it ends by itself. */
  lost: Promise<string>
  close: () => void
}

/** Opens what config.yaml names: etcd itself, or anything else through the real kine. @throws Error with the last words of who failed */
export function openDatastore(root: string, config: Config, kine: string): Promise<Datastore> {
  const endpoint = text(config, 'datastore-endpoint')
  return /^https?:/.test(endpoint) ? openEtcd(root, config, endpoint) : openKine(root, config, kine)
}

async function openEtcd(root: string, config: Config, endpoints: string): Promise<Datastore> {
  const pem = (key: string) => (text(config, key) ? readFileSync(join(root, text(config, key)), 'utf8') : undefined)
  const tls = { ca: pem('datastore-cafile'), cert: pem('datastore-certfile'), key: pem('datastore-keyfile') }
  const client = new KeyValueClient(endpoints.split(',')[0] as string, tls)
  await client.get('/registry/health')
  return { client, lost: new Promise(() => {}), close: () => client.close() }
}

/** Starts the real kine on the endpoint, as K3s does in its own process, and waits for it as long as kine does. @throws Error with kine's last words */
async function openKine(root: string, config: Config, kine: string): Promise<Datastore> {
  const home = join(root, 'var/lib/rancher/k3s/server')
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const socket = join(home, 'kine.sock')
  rmSync(socket, { force: true })
  const args = ['--listen-address', `unix://${socket}`, '--metrics-bind-address', '0', ...endpointArgs(root, config)]
  // Dies with us, however we die: the real one is a part of K3s' process.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', kine, ...args], {
    cwd: home,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const words = lastWords(child)
  const client = new KeyValueClient(`unix://${socket}`)
  let closed = false
  const lost = new Promise<string>((done) => child.once('exit', () => closed || done(words())))
  const ready = async () => {
    while (!(existsSync(socket) && (await answers(client)))) await sleep(50)
  }
  const failed = await Promise.race([ready(), lost])
  if (failed !== undefined) throw new Error(`starting kubernetes: preparing server: ${failed}`)
  return {
    client,
    lost,
    close: () => {
      closed = true
      client.close()
      child.kill('SIGKILL')
    },
  }
}

function endpointArgs(root: string, config: Config): string[] {
  const endpoint = text(config, 'datastore-endpoint')
  const file = (key: string) => (text(config, key) ? join(root, text(config, key)) : '')
  const flags = {
    '--endpoint': endpoint,
    '--ca-file': file('datastore-cafile'),
    '--cert-file': file('datastore-certfile'),
    '--key-file': file('datastore-keyfile'),
  }
  return Object.entries(flags).flatMap(([flag, value]) => (value ? [flag, value] : []))
}

function lastWords(child: ChildProcess): () => string {
  let out = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk) => {
      out = `${out}${chunk}`.slice(-4_000)
    })
  return () => out.trim().split('\n').at(-1) ?? ''
}

const answers = (client: KeyValueClient) =>
  client.get('/registry/health').then(
    () => true,
    () => false,
  )
