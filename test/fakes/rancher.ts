import type { ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { makeCa, makeLeaf, newKey } from '../../src/tls/certificates.ts'

/** The part of a Rancher's API by which clusters are imported, as its clients see it. */
export class FakeRancher {
  readonly token = 'token-abcde:0123456789abcdefghij'
  readonly clusters: { id: string; name: string }[] = []
  readonly seen: string[] = []
  /** A new registration token has no manifest for a moment: so many times. */
  slow = 0
  /** It answers with this status alone. */
  broken: number | undefined
  /** Where it says that manifests are. */
  place = '/v3/import'
  /** What it says of that instead, whatever that is. */
  says: unknown
  /** How it answers requests for manifests instead. */
  serve: ((response: ServerResponse) => void) | undefined
  ca = ''
  url = ''
  #server: Server | undefined

  static async start(): Promise<FakeRancher> {
    const rancher = new FakeRancher()
    const now = Math.floor(Date.now() / 1000)
    const [ca, key] = [await makeCa(now), newKey()]
    const server = createServer({ key, cert: await makeLeaf(ca, key, ['127.0.0.1'], now) }, (request, response) => {
      let body = ''
      request.on('data', (chunk) => (body += chunk))
      request.on('end', () => {
        if (rancher.serve && request.url?.includes('/import/')) return rancher.serve(response)
        const { status, text } = rancher.#answer(
          `${request.method} ${request.url}`,
          request.headers.authorization,
          body,
        )
        response.writeHead(status).end(text)
      })
    })
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    rancher.ca = ca.certificate
    rancher.url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
    rancher.#server = server
    return rancher
  }

  stop(): void {
    this.#server?.close()
    this.#server?.closeAllConnections()
  }

  manifest(id: string): string {
    return `apiVersion: v1\nkind: Secret\nmetadata: {name: cattle-credentials, namespace: cattle-system}\nstringData: {token: of-${id}}\n`
  }

  #answer(call: string, login: string | undefined, body: string): { status: number; text: string } {
    this.seen.push(call)
    if (this.broken) return { status: this.broken, text: 'broken' }
    const json = (value: unknown, status = 200) => ({ status, text: JSON.stringify(value) })
    const manifest = /^GET \/(?:v3|elsewhere)\/import\/secret_(c-\d+)\.yaml$/.exec(call)?.[1]
    if (manifest) return login ? { status: 400, text: 'no login here' } : { status: 200, text: this.manifest(manifest) }
    if (login !== `Bearer ${this.token}`) return json({ type: 'error', code: 'Unauthorized' }, 401)
    const name = /^GET \/v3\/clusters\?name=(.*)$/.exec(call)?.[1]
    if (name !== undefined) return json({ data: this.clusters.filter((cluster) => cluster.name === name) })
    if (call === 'POST /v3/clusters') {
      const made = { id: `c-${this.clusters.length + 1}`, name: (JSON.parse(body) as { name: string }).name }
      this.clusters.push(made)
      return json(made, 201)
    }
    const id = /clusterId=(c-\d+)$/.exec(call)?.[1]
    if (id) return json({ data: this.slow-- > 0 ? [{ id: 'r', manifestUrl: '' }] : [this.#registration(id)] })
    if (call === 'POST /v3/clusterregistrationtokens') return json(this.#registration(JSON.parse(body).clusterId), 201)
    return json({ type: 'error' }, 404)
  }

  #registration = (id: string) => ({
    id: 'r',
    manifestUrl: this.says ?? `${this.url}${this.place}/secret_${id}.yaml`,
  })
}
