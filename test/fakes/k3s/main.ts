// Plays `k3s` on a box: server, agent, kubectl. Bundled into one file by bundle.ts; see README.md beside this file.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { bootstrapForm, type Config, list, type Role, readConfig, readToken, text } from './config.ts'
import { openDatastore } from './datastore.ts'
import { joinCluster } from './join.ts'
import { writeKubeconfig } from './kubeconfig.ts'
import { runKubelet } from './kubelet.ts'
import { labelServer } from './label-server.ts'
import { isReal, runReal, startRealServer } from './real-server.ts'
import { startServer } from './server.ts'
import { reach } from './steps.ts'
import { tokenCommand } from './token-command.ts'

const root = process.env.K3S_SIM_ROOT ?? '/'
const home = process.env.K3S_SIM_HOME ?? '/usr/local/lib/k3s-sim'
const version = process.env.K3S_SIM_VERSION ?? 'v1.36.3+k3s1'

const say = (line: string) => console.error(`${new Date().toISOString()} ${line}`)

/** Tells systemd that the unit is up; a child of ours may speak for us, since it is root's. */
function notifyReady(): void {
  if (process.env.NOTIFY_SOCKET) spawnSync('systemd-notify', ['--ready'])
}

async function server(config: Config): Promise<void> {
  const token = await readToken(root, config, say)
  if (bootstrapForm.test(token)) throw new Error('failed to normalize server token: invalid token format')
  await reach(root, 'start')
  if (isReal(home)) return beside(config, token)
  const datastore = await openDatastore(root, config, join(home, 'kine'))
  const lostKine = datastore.lost.then((words) => new Error(words))
  const nodeName = nameOf(config)
  const start = startServer({
    ...{ root, client: datastore.client, token, nodeName, version, say },
    sans: list(config, 'tls-san'),
    host: '0.0.0.0',
    port: 6443,
  })
  const running = await Promise.race([start, lostKine.then((error) => Promise.reject(error))])
  notifyReady()
  await reach(root, 'ready')
  const membership = await joinCluster({ root, url: running.url, nodeName, token: `node:${token}`, say })
  await reach(root, 'node')
  void runKubelet({ ...membership, nodeName, version, say })
  void labelServer(root, nodeName)
  throw await Promise.race([running.lost, lostKine])
}

/** A real server, where the box has one, and our kubelet beside it. */
async function beside(config: Config, token: string): Promise<void> {
  const running = await startRealServer(root, home)
  await reach(root, 'ready')
  const nodeName = nameOf(config)
  const joined = joinCluster({ root, url: running.url, nodeName, token: `node:${token}`, say }).then(
    async (membership) => {
      await reach(root, 'node')
      void labelServer(root, nodeName)
      await runKubelet({ ...membership, nodeName, version, say })
    },
  )
  throw await Promise.race([running.lost, joined.then(() => new Error('the kubelet ended'))])
}

async function agent(config: Config): Promise<void> {
  const token = await readToken(root, config, say)
  const nodeName = nameOf(config)
  await reach(root, 'start')
  const membership = await joinCluster({ root, url: text(config, 'server'), nodeName, token, say })
  writeKubeconfig(join(root, 'var/lib/rancher/k3s/agent/kubelet.kubeconfig'), membership)
  notifyReady()
  await reach(root, 'node')
  await runKubelet({ ...membership, nodeName, version, say })
}

const nameOf = (config: Config) => (text(config, 'node-name') || hostname()).toLowerCase()

function kubectl(args: string[]): void {
  const own = join(root, 'etc/rancher/k3s/k3s.yaml')
  const env = { ...process.env, ...(process.env.KUBECONFIG || !existsSync(own) ? {} : { KUBECONFIG: own }) }
  const child = spawn(join(home, 'kubectl'), args, { env, stdio: 'inherit' })
  child.once('exit', (code) => process.exit(code ?? 1))
}

const [command = '', ...args] = process.argv.slice(2)
const run = (role: Role, act: (config: Config) => Promise<void>) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0))
  Promise.resolve()
    .then(() => act(readConfig(root, role)))
    .catch((error: Error) => {
      say(`level=fatal msg="${error.message}"`)
      process.exit(1)
    })
}
if (command === 'server') run('server', server)
else if (command === 'agent') run('agent', agent)
else if (isReal(home)) process.exitCode = runReal(home, [command, ...args])
else if (command === 'kubectl') kubectl(args)
else if (command === 'token') process.exitCode = tokenCommand(args, join(home, 'kubectl'), root)
else if (command === '--version') console.log(`k3s version ${version} (simulator)`)
else {
  say(`No help topic for '${command}'`)
  process.exitCode = 3
}
