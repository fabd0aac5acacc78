import type { Authenticator, Identity } from './auth.ts'
import { type ClusterFiles, rotateToken } from './bootstrap.ts'
import { signRequest } from './certificates.ts'
import configAnswer from './config-answer.json' with { type: 'json' }
import { type Ask, json, plain, type Reply } from './exchange.ts'
import { checkNodePassword } from './node-password.ts'
import { ApiError, type ObjectStore } from './store.ts'

export type Supervisor = {
  files: ClusterFiles
  store: ObjectStore
  authenticator: Authenticator
  token: string
  nodeName: string
  sans: readonly string[]
  /** Once the API server behind it answers; until then 503. */
  isReady: () => boolean
  /** `host:port` of the API servers */
  apiServers: () => Promise<string[]>
}

type Group = 'k3s:server' | 'k3s:agent'

/** The routes of K3s that need no login, and those below /v1-k3s (K3s pkg/server/router.go). @returns undefined: not one of them */
export async function supervise(supervisor: Supervisor, ask: Ask): Promise<Reply | undefined> {
  const { files } = supervisor
  if (ask.path === '/ping') return plain('pong')
  if (ask.path === '/cacerts') return plain(files.ServerCA as string, 'text/plain')
  if (!ask.path.startsWith('/v1-k3s/')) return undefined
  const forServers = ['/v1-k3s/server-bootstrap', '/v1-k3s/token'].includes(ask.path)
  const caller = await admit(supervisor, ask, forServers ? 'k3s:server' : 'k3s:agent')
  if (!supervisor.isReady()) throw new ApiError(503, 'ServiceUnavailable', 'apiserver not ready')
  switch (`${ask.method} ${ask.path.slice('/v1-k3s'.length)}`) {
    case 'GET /config':
      return { ...json({ ...configAnswer, ServerNodeName: supervisor.nodeName, SANs: supervisor.sans }) }
    case 'GET /client-ca.crt':
      return file(files.ClientCA as string)
    case 'GET /server-ca.crt':
      return file(files.ServerCA as string)
    case 'GET /readyz':
      return plain('ok')
    case 'GET /apiservers':
      return json(await supervisor.apiServers())
    case 'GET /server-bootstrap':
      return json(files)
    case 'PUT /token':
      await rotateToken(supervisor.store.client, supervisor.token, JSON.parse(ask.body.toString()).newToken)
      return plain('')
    case 'POST /serving-kubelet.crt':
      return certify(supervisor, ask, caller, { server: true })
    case 'POST /client-kubelet.crt':
      return certify(supervisor, ask, caller, { client: true })
    default:
      throw new ApiError(404, 'NotFound', 'not found')
  }
}

async function admit({ authenticator }: Supervisor, ask: Ask, wanted: Group): Promise<Identity> {
  const caller = await authenticator.identify(ask.socket, ask.headers)
  if (caller === 'refused') throw new ApiError(401, 'Unauthorized', 'not authorized')
  if (caller === 'nobody') throw forbidden()
  const isAgent = ['k3s:agent', 'system:nodes', 'system:bootstrappers'].some((group) => caller.groups.includes(group))
  if (wanted === 'k3s:server' ? !caller.groups.includes('k3s:server') : !isAgent) throw forbidden()
  return caller
}

const forbidden = () => new ApiError(403, 'Forbidden', 'forbidden')

const file = (body: string): Reply => ({ ...plain(body, 'text/plain'), headers: { 'accept-ranges': 'bytes' } })

async function certify(
  { files, store, authenticator }: Supervisor,
  ask: Ask,
  caller: Identity,
  usage: { client?: boolean; server?: boolean },
): Promise<Reply> {
  const name = String(ask.headers['k3s-node-name'] ?? '')
  if (!name) throw new ApiError(400, 'BadRequest', 'node name not set')
  const password = String(ask.headers['k3s-node-password'] ?? '')
  if (!password) throw new ApiError(400, 'BadRequest', 'node password not set')
  if (caller.node !== undefined && caller.node !== name)
    throw new ApiError(400, 'BadRequest', 'header node name does not match auth node name')
  if (!(await authenticator.hasNode(caller)))
    throw new ApiError(401, 'Unauthorized', `unable to verify node identity: nodes "${name}" not found`)
  await checkNodePassword(store, name, password)
  const which = usage.client ? 'ClientCA' : 'ServerCA'
  const authority = { certificate: files[which] as string, key: files[`${which}Key`] as string }
  const subject = usage.client ? { user: `system:node:${name}`, groups: ['system:nodes'] } : { user: name }
  const names = usage.server ? [name, 'localhost', '127.0.0.1'] : []
  const certificate = await signRequest(authority, ask.body, subject, { ...usage, names })
  return plain(`${certificate}${authority.certificate}`)
}
