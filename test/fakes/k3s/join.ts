import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type AskOptions, ask } from './ask.ts'
import { makeRequest, type Pair } from './certificates.ts'

export type Joining = {
  root: string
  /** Where the cluster answers */
  url: string
  nodeName: string
  /** What the token file holds: `K10<hash>::id.secret` or a server token */
  token: string
  say: (line: string) => void
}

/** What a kubelet has after the handshake. */
export type Membership = { url: string; ca: string; client: Pair }

/** Milliseconds between tries: an agent tries for ever. */
const every = 5_000

/** K3s' handshake of a node with a server (K3s pkg/agent/config), tried until it goes through. */
export async function joinCluster(joining: Joining): Promise<Membership> {
  for (;;) {
    try {
      return await handshake(joining)
    } catch (error) {
      joining.say((error as Error).message)
      await sleep(every)
    }
  }
}

async function handshake(joining: Joining): Promise<Membership> {
  const ca = await trust(joining)
  const byToken = { ca, headers: { authorization: authorization(joining.token) } }
  // A node that joined before shows its certificate too, and it counts for more.
  const kept = keptCertificate(joining.root)
  const credentials = kept ? { ...byToken, cert: kept.certificate, key: kept.key } : byToken
  for (const path of ['config', 'client-ca.crt', 'server-ca.crt']) await get(joining, path, credentials)
  // Whose Node was deleted is refused by its certificate, and tries its token (K3s pkg/agent/config, getNodeNamedCrt).
  const certified = (path: string) =>
    certify(joining, path, credentials).catch((error: Error) => {
      if (!kept || !error.message.includes(': 401: ')) throw error
      return certify(joining, path, byToken)
    })
  await certified('serving-kubelet.crt')
  const client = await certified('client-kubelet.crt')
  await get(joining, 'apiservers', credentials)
  await get(joining, 'readyz', credentials)
  keep(joining.root, client)
  return { url: joining.url, ca, client }
}

async function trust({ url, token }: Joining): Promise<string> {
  const { body } = await ask(`${url}/cacerts`)
  const [, wanted] = /^K10([0-9a-f]{64})::/.exec(token) ?? []
  const hash = createHash('sha256').update(body).digest('hex')
  if (wanted && hash !== wanted)
    throw new Error(`token CA hash does not match the Cluster CA certificate hash: ${wanted} != ${hash}`)
  await ask(`${url}/ping`, { ca: body })
  return body
}

const authorization = (token: string) => {
  const bare = token.replace(/^K10[0-9a-f]{64}::/, '')
  if (/^[a-z0-9]{6}\.[a-z0-9]{16}$/.test(bare)) return `Bearer ${bare}`
  return `Basic ${Buffer.from(bare.includes(':') ? bare : `node:${bare}`).toString('base64')}`
}

async function get({ url }: Joining, path: string, options: AskOptions): Promise<string> {
  const { status, body } = await ask(`${url}/v1-k3s/${path}`, options)
  if (status === 200) return body
  const { message = body } = (body.startsWith('{') ? JSON.parse(body) : {}) as { message?: string }
  throw new Error(`${url}/v1-k3s/${path}: ${status}: ${message}`)
}

async function certify(joining: Joining, path: string, credentials: AskOptions): Promise<Pair> {
  const { request, key } = await makeRequest()
  const headers = {
    ...credentials.headers,
    'k3s-Node-Name': joining.nodeName,
    'k3s-Node-Password': readFileSync(join(joining.root, 'etc/rancher/node/password'), 'utf8').trim(),
  }
  const certificate = await get(joining, path, { ...credentials, method: 'POST', headers, body: request })
  return { certificate, key }
}

const folder = (root: string) => join(root, 'var/lib/rancher/k3s/agent')

function keptCertificate(root: string): Pair | undefined {
  const [certificate, key] = ['client-kubelet.crt', 'client-kubelet.key'].map((name) => join(folder(root), name))
  if (!certificate || !key || !existsSync(certificate) || !existsSync(key)) return undefined
  return { certificate: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') }
}

function keep(root: string, { certificate, key }: Pair): void {
  mkdirSync(folder(root), { recursive: true, mode: 0o700 })
  writeFileSync(join(folder(root), 'client-kubelet.crt'), certificate, { mode: 0o600 })
  writeFileSync(join(folder(root), 'client-kubelet.key'), key, { mode: 0o600 })
}
