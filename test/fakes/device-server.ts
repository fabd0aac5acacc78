import { execFileSync } from 'node:child_process'
import { createHash, randomBytes, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { calculateJwkThumbprint, compactVerify, EmbeddedJWK, type JWK } from 'jose'
import { codes } from '../../src/errors.ts'

/** How one request is answered instead of honestly. */
export type Answer = {
  status?: number
  headers?: Record<string, string>
  body?: string
  /** `lost`: the request is served, but its answer never arrives; `half`: half of the body arrives. */
  fault?: 'lost' | 'half'
}

export type Seen = { method: string; path: string; headers: IncomingMessage['headers']; body: string; at: number }
export type Verified = { typ: string; payload: Record<string, unknown>; jwk: JWK; thumbprint: string; jws: string }

/** The device routes of PROTOCOL.md as one process: honest by default, and as bad as a test plans it. */
export class DeviceServer {
  readonly seen: Seen[] = []
  /** Connections that were opened */
  connections = 0
  /** Claims and proofs whose signature and members were found right, in the order in which they were served. */
  readonly verified: Verified[] = []
  readonly reports: { step: string; result: string; detail?: string }[] = []
  readonly downloads = new Map<string, Buffer>()
  readonly #plans = new Map<string, Answer[]>()
  readonly #nonces = new Map<string, string>()
  readonly #server: Server
  /** The enrollment is weaker than `key`: a retry key is enough, and these came. */
  weak = false
  readonly retryKeys: string[] = []
  document = { body: '#cloud-config\n{}\n', type: 'text/cloud-config' }
  enrollment = 'enr_test'
  token = 'ab'.repeat(32)
  ticket = 'ticket-0123456789abcdef'
  reportToken = 'report-0123456789abcdef'
  credential = 'node-credential-0123456789'
  /** `Rollcall-Start` of a redeem's answer */
  start: 'init' | 'join' | undefined
  /** `Rollcall-CA-Hash` of it */
  caHash: string | undefined
  /** Task lines that wait; what is answered is gone. */
  tasks: string[] = []
  /** Tasks that one poll is answered with, at most. */
  page = 1_000
  /** What was said of tasks, in order. */
  readonly results: string[] = []
  /** What the cluster was seen to show, in order. */
  readonly sightings: {
    ca_hash: string
    nodes: { name: string; ready: boolean | null; version: string }[]
    pods_not_running: number
  }[] = []
  /** The roll wants the cluster's kubeconfig. */
  escrow = false
  kubeconfig: string | undefined
  /** What this server is given to bring into its cluster */
  manifests: string | undefined
  /** Milliseconds that a poll is held for want of tasks. */
  hold = 200
  /** Unix seconds */
  now = () => Math.floor(Date.now() / 1000)
  pin = ''
  /** What a claim must be addressed to, if not the URL. */
  audience: string | undefined

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(): Promise<DeviceServer> {
    const { key, cert } = keyPair ?? selfSigned()
    keyPair = { key, cert }
    const server = createServer({ key, cert })
    const fake = new DeviceServer(server)
    fake.pin = `sha256//${pinOf(cert)}`
    server.on('request', (request, response) => void fake.#serve(request, response))
    server.on('secureConnection', () => fake.connections++)
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    return fake
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get reportUrl(): string {
    return `${this.url}/v1/report/${this.reportToken}`
  }

  /** The next requests to `path` get these answers, then honesty returns. */
  plan(path: string, ...answers: Answer[]): void {
    for (const { status, body } of answers) statusFits(status, body)
    this.#plans.set(path, [...(this.#plans.get(path) ?? []), ...answers])
  }

  /** Back to honesty. */
  forget(): void {
    this.#plans.clear()
  }

  requests(path: string): Seen[] {
    return this.seen.filter((request) => request.path === path)
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((done) => this.#server.close(done))
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? ''
    const body = await text(request)
    this.seen.push({ method: request.method ?? '', path, headers: request.headers, body, at: Date.now() })
    const planned = this.#plans.get(path)?.shift()
    const instead = planned?.status !== undefined ? (planned as Required<Answer>) : undefined
    const { status, headers, body: answer } = instead ?? (await this.#answer(path, body, request))
    const bytes = Buffer.from(answer ?? '')
    response.writeHead(status, {
      'Rollcall-Time': String(this.now()),
      'Content-Length': bytes.length,
      ...headers,
      ...planned?.headers,
    })
    if (planned?.fault === 'lost') return void request.socket.destroy()
    if (planned?.fault === 'half') {
      response.write(bytes.subarray(0, bytes.length >> 1), () => request.socket.destroy())
      return
    }
    response.end(bytes)
  }

  async #answer(path: string, body: string, request: IncomingMessage): Promise<Reply> {
    try {
      if (path === '/v1/challenge') return this.#challenge()
      if (path === '/v1/claim') return await this.#claim(body, request)
      if (path === '/v1/join') return await this.#join(body, request)
      if (path === `/v1/report/${this.reportToken}`) return this.#report(body)
      if (path === '/v1/nodes') return this.#nodes(body, request)
      if (path === '/v1/manifests') return this.#manifests(request)
      if (path === '/v1/kubeconfig') return this.#kubeconfig(body, request)
      if (path.startsWith('/v1/tasks')) return await this.#tasks(body, request)
      const file = this.downloads.get(path)
      if (file) return this.#file(file, request.headers.range)
      return refuse(404, 'not_found')
    } catch (error) {
      if (!(error instanceof Refused)) return refuse(500, `internal: ${String(error)}`)
      const nonce = error.code.startsWith('nonce_') ? { 'Rollcall-Nonce': this.freshNonce() } : undefined
      return refuse(error.status, error.code, nonce)
    }
  }

  #file(file: Buffer, range = 'bytes=0-'): Reply {
    const from = Number(/^bytes=(\d+)-$/.exec(range)?.[1])
    if (from >= file.length) return refuse(416, 'no such bytes')
    const headers = { 'Content-Range': `bytes ${from}-${file.length - 1}/${file.length}` }
    return { status: from > 0 ? 206 : 200, headers, body: file.subarray(from) }
  }

  freshNonce(): string {
    const nonce = randomBytes(36).toString('base64url')
    this.#nonces.set(nonce, '')
    return nonce
  }

  #challenge(): Reply {
    const nonce = this.freshNonce()
    const body = JSON.stringify({ nonce, server_time: this.now(), ttl: 300 })
    return { status: 200, headers: { 'Rollcall-Nonce': nonce, 'Content-Type': 'application/json' }, body }
  }

  async #claim(body: string, request: IncomingMessage): Promise<Reply> {
    const claim = await this.#verify(body, 'ztp-claim+jwt', request)
    if (typeof claim.payload.exp === 'number') throw new Refused(400, 'device_time_claim')
    this.#spend(claim)
    const digest = createHash('sha256').update(this.document.body).digest('hex')
    return {
      status: 200,
      headers: {
        'Content-Type': this.document.type,
        'Rollcall-Enrollment': this.enrollment,
        'Rollcall-Digest': `sha256=${digest}`,
      },
      body: this.document.body,
    }
  }

  async #join(body: string, request: IncomingMessage): Promise<Reply> {
    if (request.headers.authorization !== `Bearer ${this.ticket}`) throw new Refused(401, 'token_invalid')
    const retryKey = request.headers['rollcall-retry-key']
    if (this.weak && retryKey !== undefined) return this.#weakJoin(String(retryKey))
    const proof = await this.#verify(body, 'ztp-join+jwt', request)
    const ath = createHash('sha256').update(this.ticket).digest('base64url')
    if (proof.payload.ath !== ath) throw new Refused(401, 'bad_signature')
    this.#spend(proof)
    const headers: Record<string, string> = { 'Content-Type': 'text/plain; charset=utf-8' }
    if (this.start) headers['Rollcall-Start'] = this.start
    if (this.caHash) headers['Rollcall-CA-Hash'] = this.caHash
    return { status: 200, headers, body: this.token }
  }

  #authorize(request: IncomingMessage): void {
    if (request.headers.authorization !== `Bearer ${this.credential}`) throw new Refused(401, 'credential_invalid')
  }

  async #tasks(body: string, request: IncomingMessage): Promise<Reply> {
    this.#authorize(request)
    if (request.method === 'POST') {
      const lines = body.split('\n').filter(Boolean)
      this.results.push(...lines)
      const done = new Set(lines.map((line) => line.split(' ')[0]))
      this.tasks = this.tasks.filter((line) => !done.has(line.split(' ')[0]))
      return { status: 204, headers: {}, body: '' }
    }
    for (let held = 0; this.tasks.length === 0 && held < this.hold; held += 10) await sleep(10)
    if (this.tasks.length === 0) return { status: 204, headers: {}, body: '' }
    return {
      status: 200,
      headers: { 'Content-Type': 'text/plain; charset=utf-8' },
      body: `${this.tasks.slice(0, this.page).join('\n')}\n`,
    }
  }

  #nodes(body: string, request: IncomingMessage): Reply {
    this.#authorize(request)
    if (request.method !== 'PUT') throw new Refused(405, 'method_not_allowed')
    this.sightings.push(JSON.parse(body))
    const wants: Record<string, string> =
      this.escrow && this.kubeconfig === undefined ? { 'Rollcall-Want': 'kubeconfig' } : {}
    return { status: 204, headers: wants, body: '' }
  }

  #manifests(request: IncomingMessage): Reply {
    this.#authorize(request)
    if (this.manifests === undefined) return { status: 204, headers: {}, body: '' }
    return { status: 200, headers: { 'Content-Type': 'application/yaml' }, body: this.manifests }
  }

  #kubeconfig(body: string, request: IncomingMessage): Reply {
    this.#authorize(request)
    if (!this.escrow) throw new Refused(404, 'not_found')
    this.kubeconfig = body
    return { status: 204, headers: {}, body: '' }
  }

  #weakJoin(key: string): Reply {
    this.retryKeys.push(key)
    return { status: 200, headers: { 'Content-Type': 'text/plain; charset=utf-8' }, body: this.token }
  }

  async #verify(jws: string, typ: string, request: IncomingMessage): Promise<Verified> {
    if (request.headers['content-type'] !== 'application/jose') throw new Refused(415, 'media_type')
    const { payload, protectedHeader } = await compactVerify(jws, EmbeddedJWK, { algorithms: ['ES256'] }).catch(() => {
      throw new Refused(401, 'bad_signature')
    })
    if (Object.keys(protectedHeader).sort().join() !== 'alg,jwk,typ' || protectedHeader.typ !== typ)
      throw new Refused(400, 'header_invalid')
    const claims = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)) as Record<string, unknown>
    if (claims.aud !== (this.audience ?? this.url)) throw new Refused(401, 'wrong_audience')
    if (!/^[0-9a-f]{32}$/.test(String(claims.jti))) throw new Refused(400, 'claim_schema')
    const jwk = protectedHeader.jwk as JWK
    return { typ, payload: claims, jwk, thumbprint: await calculateJwkThumbprint(jwk), jws }
  }

  #spend(one: Verified): void {
    const nonce = String(one.payload.eat_nonce)
    const user = this.#nonces.get(nonce)
    if (user === undefined) throw new Refused(401, 'nonce_invalid')
    if (user !== '' && user !== one.jws) throw new Refused(409, 'claim_replayed')
    this.#nonces.set(nonce, one.jws)
    this.verified.push(one)
  }

  #report(body: string): Reply {
    this.reports.push(JSON.parse(body))
    return { status: 204, headers: {}, body: '' }
  }
}

/** One TLS key a process: it takes longer to make than a claim. */
let keyPair: { key: string; cert: string } | undefined

type Reply = { status: number; headers: Record<string, string>; body: string | Buffer }

class Refused extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string) {
    super(code)
    this.status = status
    this.code = code
  }
}

/** What the server never says is no test of a client: a code has the status of the one table. */
function statusFits(status: number | undefined, body = ''): void {
  const [told] = Object.entries(codes).find(([code]) => code === body.split(':')[0])?.[1] ?? []
  if (told !== undefined && told !== status) throw new Error(`${body} is ${told}, not ${status}`)
}

function refuse(status: number, body: string, headers: Record<string, string> = {}): Reply {
  statusFits(status, body)
  return { status, headers: { 'Content-Type': 'text/plain; charset=utf-8', ...headers }, body }
}

async function text(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

function selfSigned(): { key: string; cert: string } {
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-tls-'))
  try {
    const [key, cert] = [join(folder, 'key'), join(folder, 'cert')]
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    execFileSync('openssl', ['req', '-x509', ...curve, '-subj', '/CN=rollcall', '-keyout', key, '-out', cert], {
      stdio: 'pipe',
    })
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function pinOf(cert: string): string {
  const spki = new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(spki).digest('base64')
}
