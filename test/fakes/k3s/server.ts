import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createSecureServer, type Http2SecureServer } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KeyValueClient } from '../../kine/client.ts'
import { type Api, serveApi } from './api.ts'
import { Authenticator } from './auth.ts'
import { type ClusterFiles, makeClusterFiles, saveFiles, takeTurn } from './bootstrap.ts'
import { makeLeaf } from './certificates.ts'
import { runControllers } from './controllers.ts'
import { isSignedBy, keepFiles, ownFiles, servingCertificate } from './disk.ts'
import { apiStatus, readAsk, refusalOf, send, supervisorStatus } from './exchange.ts'
import { writeKubeconfig } from './kubeconfig.ts'
import { ownAddress } from './kubelet.ts'
import { nodes } from './resources.ts'
import { reach } from './steps.ts'
import { ObjectStore } from './store.ts'
import { type Supervisor, supervise } from './supervisor.ts'

export type ServerOptions = {
  /** Whose /etc and /var it uses; `/` on a box */
  root: string
  client: KeyValueClient
  token: string
  nodeName: string
  sans: readonly string[]
  version: string
  host: string
  /** 0 = any */
  port: number
  say: (line: string) => void
}

export type RunningServer = {
  url: string
  files: ClusterFiles
  /** Settles when the datastore has not answered for too long, as leader election ends the real one. */
  lost: Promise<Error>
  close: () => Promise<void>
}

/** Milliseconds without a datastore that it survives. */
const patience = 15_000

/** A K3s server from its datastore to an API that answers. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const files = await clusterFiles(options)
  const store = new ObjectStore(options.client)
  const authenticator = new Authenticator(store, files.PasswdFile as string)
  let ready = false
  const supervisor: Supervisor = {
    files,
    store,
    authenticator,
    token: options.token,
    nodeName: options.nodeName,
    sans: namesOf(options),
    isReady: () => ready,
    apiServers: async () => addressesOf(await store.list(nodes)),
  }
  const server = await listen(options, files, supervisor, { store, authenticator, version: options.version })
  const port = (server.http.address() as AddressInfo).port
  const url = `https://127.0.0.1:${port}`
  await writeCredentials(options, files, url)
  while (!isSignedBy(server.certificate, files.ServerCA as string)) {
    options.say(`Failed to validate connection to cluster at ${url}: CA cert validation failed`)
    await sleep(2_000)
  }
  await reach(options.root, 'listening')
  ready = true
  const stop = new AbortController()
  const lost = new Promise<Error>((done) => {
    let since: number | undefined
    void runControllers(store, stop.signal, (error) => {
      since = error && (since ?? Date.now())
      if (error && Date.now() - (since as number) > patience) done(error)
    })
  })
  const close = async () => {
    stop.abort()
    await server.close()
  }
  return { url, files, lost, close }
}

async function clusterFiles(options: ServerOptions): Promise<ClusterFiles> {
  const { client, token, root, say } = options
  await reach(root, 'datastore')
  const known = await takeTurn(client, token, say)
  if (known) {
    keepFiles(root, known.files, known.savedAt, say)
    return known.files
  }
  await reach(root, 'locked')
  const files = { ...(await makeClusterFiles(token)), ...ownFiles(root) }
  keepFiles(root, files, undefined, say)
  await serving(root, files, namesOf(options))
  await reach(root, 'made')
  await saveFiles(client, token, files, say)
  await reach(root, 'saved')
  return files
}

const serving = (root: string, files: ClusterFiles, names: readonly string[]) =>
  servingCertificate(root, names, () => {
    const authority = { certificate: files.ServerCA as string, key: files.ServerCAKey as string }
    return makeLeaf(authority, { user: 'k3s', groups: ['k3s'] }, { server: true, names })
  })

async function listen(options: ServerOptions, files: ClusterFiles, supervisor: Supervisor, api: Api) {
  const authority = files.ServerCA as string
  const leaf = await serving(options.root, files, supervisor.sans)
  const http: Http2SecureServer = createSecureServer({
    key: leaf.key,
    cert: `${leaf.certificate}${authority}`,
    ca: files.ClientCA as string,
    requestCert: true,
    rejectUnauthorized: false,
    allowHTTP1: true,
  })
  const sockets = new Set<Socket>()
  http.on('connection', (socket) => sockets.add(socket.once('close', () => sockets.delete(socket))))
  http.on('request', async (request, response) => {
    const ask = await readAsk(request)
    const isApi = !/^\/(?:ping|cacerts|v1-k3s\/)/.test(ask.path)
    try {
      send(response, (await supervise(supervisor, ask)) ?? (await serveApi(api, ask)))
    } catch (error) {
      send(response, (isApi ? apiStatus : supervisorStatus)(refusalOf(error)))
    }
  })
  http.on('sessionError', () => {})
  http.listen(options.port, options.host)
  await once(http, 'listening')
  const close = () =>
    new Promise<void>((done) => {
      http.close(() => done())
      for (const socket of sockets) socket.destroy()
    })
  return { http, certificate: leaf.certificate, close }
}

async function writeCredentials({ root, token }: ServerOptions, files: ClusterFiles, url: string): Promise<void> {
  const authority = { certificate: files.ClientCA as string, key: files.ClientCAKey as string }
  const client = await makeLeaf(authority, { user: 'system:admin', groups: ['system:masters'] }, { client: true })
  const ca = files.ServerCA as string
  writeKubeconfig(join(root, 'etc/rancher/k3s/k3s.yaml'), { url, ca, client })
  const server = join(root, 'var/lib/rancher/k3s/server')
  mkdirSync(join(server, 'tls'), { recursive: true, mode: 0o700 })
  writeFileSync(join(server, 'token'), `${token}\n`, { mode: 0o600 })
  writeFileSync(join(server, 'tls/server-ca.crt'), ca)
}

const namesOf = ({ sans, nodeName }: ServerOptions) => [
  ...new Set([
    ...sans,
    nodeName,
    ownAddress(),
    '127.0.0.1',
    'localhost',
    '10.43.0.1',
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    'kubernetes.default.svc.cluster.local',
  ]),
]

type NodeLike = {
  metadata: { labels?: Record<string, string> }
  status?: { addresses?: { type: string; address: string }[] }
}

function addressesOf(all: NodeLike[]): string[] {
  const servers = all.filter(({ metadata }) => metadata.labels?.['node-role.kubernetes.io/control-plane'])
  return servers.flatMap(({ status }) =>
    (status?.addresses ?? []).filter(({ type }) => type === 'InternalIP').map(({ address }) => `${address}:6443`),
  )
}
