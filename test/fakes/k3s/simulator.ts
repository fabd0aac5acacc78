import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Kine, type KineOptions, startKine } from '../../kine/start.ts'
import { type RunningServer, startServer } from './server.ts'
import { ObjectStore } from './store.ts'

/** One simulated K3s server in this process, on a real kine of its own: for tests that want a cluster and no boxes. */
export type Simulator = RunningServer & {
  /** Its /etc and /var; `etc/rancher/k3s/k3s.yaml` is the admin's kubeconfig */
  root: string
  token: string
  kine: Kine
  store: ObjectStore
  stop: () => Promise<void>
}

export type SimulatorOptions = KineOptions & {
  token?: string
  nodeName?: string
  sans?: readonly string[]
  version?: string
}

export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const { token = randomBytes(32).toString('hex'), nodeName = 'sn-001', sans = [], version = 'v1.36.3+k3s1' } = options
  const root = mkdtempSync(join(tmpdir(), 'k3s-sim-'))
  mkdirSync(join(root, 'etc/rancher/node'), { recursive: true })
  writeFileSync(join(root, 'etc/rancher/node/password'), randomBytes(16).toString('hex'))
  const kine = await startKine(options)
  const server = await startServer({
    ...{ root, client: kine.client, token, nodeName, sans, version },
    host: '127.0.0.1',
    port: 0,
    say: () => {},
  })
  const stop = async () => {
    await server.close()
    await kine.stop()
    rmSync(root, { recursive: true, force: true })
  }
  return { ...server, root, token, kine, store: new ObjectStore(kine.client), stop }
}
