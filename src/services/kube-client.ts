import { Agent, request } from 'node:https'
import type { ClusterAccess } from '../k3s/cluster.ts'
import { toLine } from '../roll/text.ts'

/** Milliseconds that one answer may take. */
const patience = 15_000
/** Bytes of one answer: a page of a hundred Nodes, each with the names of its images, has about 3 MB. */
const most = 16 * 1_048_576
/** Connections to one API server. */
const together = 8

export type KubeAnswer = { status: number; body: unknown }

/** `away`: nothing can be done there now; `refused`: this one thing was not. The message is for the admin, and holds no secret. */
export class KubeError extends Error {
  override readonly name = 'KubeError'
  readonly kind: 'away' | 'refused'

  constructor(kind: 'away' | 'refused', message: string) {
    super(message)
    this.kind = kind
  }
}

export type KubeClient = {
  /**
   * One call. The caller names the statuses that it understands; anything else is thrown.
   * @param path from `/api` on, encoded
   * @throws KubeError
   */
  call: (method: 'GET' | 'POST' | 'DELETE', path: string, good: readonly number[], body?: object) => Promise<KubeAnswer>
  close: () => void
}

/** What calls the API of one cluster, trusting its CA alone. @param signal ends what runs */
export function kubeClient({ endpoint, ca, token }: ClusterAccess, signal: AbortSignal): KubeClient {
  const agent = new Agent({ ca, keepAlive: true, maxSockets: together })
  const origin = endpoint.replace(/\/+$/, '')
  const headers = { authorization: `Bearer ${token}`, accept: 'application/json', 'user-agent': 'rollcall' }
  const send = (method: string, path: string, body: object | undefined) =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      const type = body ? { 'content-type': 'application/json' } : {}
      const until = AbortSignal.any([signal, AbortSignal.timeout(patience)])
      const sent = request(`${origin}${path}`, { method, agent, signal: until, headers: { ...headers, ...type } })
      sent.on('error', (error) => reject(awayOf(error)))
      sent.on('response', (response) => {
        const chunks: Buffer[] = []
        let length = 0
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk)
          length += chunk.length
          if (length > most) response.destroy(new KubeError('away', `an answer has more than ${most} bytes`))
        })
        response.on('error', (error) => reject(awayOf(error)))
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        )
      })
      sent.end(body && JSON.stringify(body))
    })
  return {
    call: async (method, path, good, body) => {
      const { status, text } = await send(method, path, body)
      if (good.includes(status)) return { status, body: parsed(text) }
      throw refusal(status, text)
    },
    close: () => agent.destroy(),
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new KubeError('away', 'it does not speak as Kubernetes does')
  }
}

function refusal(status: number, text: string): KubeError {
  if (status === 401) return new KubeError('away', 'it refuses the token (401)')
  if (status === 429 || status >= 500 || status < 400) return new KubeError('away', `it answers ${status}`)
  return new KubeError('refused', `it refuses (${status})${messageOf(text)}`)
}

/** What Kubernetes says in a Status. */
function messageOf(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown }
    return typeof message === 'string' ? `: ${toLine(message, 300)}` : ''
  } catch {
    return ''
  }
}

const words: Record<string, string> = {
  ABORT_ERR: 'it does not answer in time',
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'it broke the connection off',
  EHOSTUNREACH: 'there is no way to it',
  ENETUNREACH: 'there is no way to it',
  ENOTFOUND: 'its name is not known',
  EAI_AGAIN: 'its name cannot be looked up now',
  ETIMEDOUT: 'it does not answer in time',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
  CERT_HAS_EXPIRED: 'its certificate, or the CA, is past its time',
  CERT_NOT_YET_VALID: 'its certificate, or the CA, is before its time',
}
const strange = /^(?:UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|CERT_SIGNATURE|ERR_OSSL|INVALID_CA|CERT_UNTRUSTED)/

function awayOf(error: Error & { code?: unknown }): KubeError {
  if (error instanceof KubeError) return error
  const code = typeof error.code === 'string' ? error.code : error.name
  if (strange.test(code)) return new KubeError('away', 'its certificate is not from the CA that was given')
  const known = error.name === 'AbortError' || error.name === 'TimeoutError' ? words.ABORT_ERR : words[code]
  return new KubeError('away', known ?? `it cannot be reached (${toLine(code, 60)})`)
}
