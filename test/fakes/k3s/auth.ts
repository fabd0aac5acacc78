import type { IncomingHttpHeaders } from 'node:http'
import type { Certificate, TLSSocket } from 'node:tls'
import { nodes, secrets } from './resources.ts'
import type { ObjectStore } from './store.ts'

/** Who asks. `node` is set for kubelets, by their certificate. */
export type Identity = { user: string; groups: readonly string[]; node?: string }

/** `nobody`: came without anything; `refused`: what it came with is not good. */
export type Caller = Identity | 'nobody' | 'refused'

/** Milliseconds for which the API server remembers a token that was good, whatever becomes of its Secret. */
const remembered = 10_000

/** What the apiserver's and K3s' own authenticators decide, in their order: certificate, bearer, basic. */
export class Authenticator {
  readonly #store: ObjectStore
  readonly #passwd: Map<string, { password: string; groups: string[] }>
  readonly #good = new Map<string, { identity: Identity; until: number }>()

  /** @param passwd K3s' passwd file: `password,user,uid,group` a line */
  constructor(store: ObjectStore, passwd: string) {
    this.#store = store
    const lines = passwd.trim().split('\n')
    this.#passwd = new Map(
      lines.map((line) => {
        const [password = '', user = '', , ...groups] = line.split(',')
        return [user, { password, groups }]
      }),
    )
  }

  async identify(socket: TLSSocket, headers: IncomingHttpHeaders): Promise<Caller> {
    const subject = socket.authorized ? socket.getPeerCertificate().subject : undefined
    if (subject) return this.#certificate(subject)
    const [scheme, value = ''] = (headers.authorization ?? '').split(' ')
    if (scheme === 'Bearer') return (await this.#bearer(value)) ?? 'refused'
    if (scheme === 'Basic') return this.#basic(Buffer.from(value, 'base64').toString()) ?? 'refused'
    return 'nobody'
  }

  /** A certificate of a node whose Node was deleted gets no new one (K3s pkg/nodepassword, verifyNode). */
  async hasNode({ node }: Identity): Promise<boolean> {
    return node === undefined || (await this.#store.get(nodes, node)) !== undefined
  }

  #certificate(subject: Certificate): Identity {
    const user = String(subject.CN)
    const groups = [subject.O ?? []].flat()
    const node = /^system:node:(.+)$/.exec(user)?.[1]
    return { user, groups, ...(node && groups.includes('system:nodes') && { node }) }
  }

  #basic(text: string): Identity | undefined {
    const [user = '', password] = text.split(/:(.*)/s)
    const entry = this.#passwd.get(user)
    return entry && entry.password === password ? { user, groups: entry.groups } : undefined
  }

  async #bearer(token: string): Promise<Identity | undefined> {
    const known = this.#good.get(token)
    if (known && known.until > Date.now()) return known.identity
    const identity = (await this.#bootstrapToken(token)) ?? (await this.#serviceAccount(token))
    if (identity) this.#good.set(token, { identity, until: Date.now() + remembered })
    else this.#good.delete(token)
    return identity
  }

  async #bootstrapToken(token: string): Promise<Identity | undefined> {
    const [, id, secret] = /^([a-z0-9]{6})\.([a-z0-9]{16})$/.exec(token) ?? []
    if (!id) return undefined
    const found = await this.#store.get(secrets, `bootstrap-token-${id}`, 'kube-system')
    if (found?.type !== 'bootstrap.kubernetes.io/token') return undefined
    const data = textsOf(found.data)
    const good =
      data['token-id'] === id &&
      data['token-secret'] === secret &&
      data['usage-bootstrap-authentication'] === 'true' &&
      !isExpired(data.expiration)
    if (!good) return undefined
    const extra = (data['auth-extra-groups'] ?? '').split(',').filter(Boolean)
    return { user: `system:bootstrap:${id}`, groups: ['system:bootstrappers', ...extra] }
  }

  async #serviceAccount(token: string): Promise<Identity | undefined> {
    const all = await this.#store.list(secrets)
    const found = all.find(
      ({ type, data }) => type === 'kubernetes.io/service-account-token' && textsOf(data).token === token,
    )
    const account = found?.metadata.annotations?.['kubernetes.io/service-account.name']
    if (!found || !account) return undefined
    const { namespace = 'default' } = found.metadata
    return {
      user: `system:serviceaccount:${namespace}:${account}`,
      groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`],
    }
  }
}

/** The TokenCleaner controller: Secrets of tokens whose time is up go. */
export async function cleanTokens(store: ObjectStore): Promise<void> {
  for (const { type, data, metadata } of await store.list(secrets, 'kube-system')) {
    if (type === 'bootstrap.kubernetes.io/token' && isExpired(textsOf(data).expiration))
      await store.delete(secrets, metadata.name, 'kube-system')
  }
}

const isExpired = (expiration?: string) => expiration !== undefined && !(Date.parse(expiration) > Date.now())

const textsOf = (data: Record<string, string> = {}): Record<string, string | undefined> =>
  Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]))
