import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { ClusterAccess } from '../../src/k3s/cluster.ts'
import { makeCa, makeLeaf, newKey } from '../../src/tls/certificates.ts'

type KubeCall = { call: string; login: string | undefined; body: unknown }

/** An API server that says what a test wants: for what the simulator, which is well-behaved, never says. */
export class FakeKubeApi {
  readonly seen: KubeCall[] = []
  readonly token = 'eyJhbGciOiJSUzI1NiJ9.account.signature'
  /** What it says to a call, `METHOD /path?query`; by itself nothing is there. */
  answer: (call: string, response: ServerResponse) => { status: number; body: unknown } | undefined = () => ({
    status: 404,
    body: { kind: 'Status', message: 'not found' },
  })
  access: ClusterAccess = { endpoint: '', ca: '', token: this.token }
  #server: Server | undefined

  static async start(): Promise<FakeKubeApi> {
    const api = new FakeKubeApi()
    const now = Math.floor(Date.now() / 1000)
    const [ca, key] = [await makeCa(now), newKey()]
    const server = createServer(
      { key, cert: await makeLeaf(ca, key, ['127.0.0.1'], now) },
      async (request, response) => {
        let text = ''
        for await (const chunk of request) text += chunk
        const call = `${request.method} ${request.url}`
        api.seen.push({ call, login: request.headers.authorization, body: text && JSON.parse(text) })
        const answer = api.answer(call, response)
        if (!answer) return
        const body = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body)
        response.writeHead(answer.status, { 'content-type': 'application/json' }).end(body)
      },
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    api.access = {
      endpoint: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
      ca: ca.certificate,
      token: api.token,
    }
    api.#server = server
    return api
  }

  stop(): void {
    this.#server?.close()
    this.#server?.closeAllConnections()
  }
}
