import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'
import { filesOf } from '../../src/demo/box.ts'
import { FakeDevice } from '../fakes/device.ts'
import { type How, requestOf } from './fleet-request.ts'
import { type Answer, Line } from './line.ts'
import type { Sent } from './replay.ts'

export type Role = 'server' | 'agent'

/** Where boxes call, and what they find there. */
export type Site = {
  origin: string
  port: number
  /** Whether cloud-init reports by its webhook */
  webhooks: boolean
  /** What the box's K3s does: resolves when it is up. */
  startK3s: (box: FleetBox) => Promise<void>
  /** Body of `PUT /v1/nodes` as this server's rollcall-node sees its cluster. */
  nodes: () => string
  /** Until the site is switched off */
  over: AbortSignal
}

/** A box waits a tenth of what the server asks for, since its K3s and its downloads take a tenth of their time, or less. */
const pace = 0.1
/** Milliseconds that cloud-init 22.4.2 takes for a post and what is between two (test/lab). */
const webhookEvery = 80

/** What cloud-init 22.4.2 of a Debian box posted, one body a line, phone_home in between (test/lab). */
const reports = readFileSync(new URL('../fixtures/cloud-init-22.4.2/reports.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter(Boolean)
/** Events before those, of migrator, seed_random and bootcmd's start */
const untrusted = 7
/** With the end of this stage rollcall-install.service starts. */
const networkStage = reports.findIndex((body) => body.includes('"init-network", ')) + 1

/** One box from power-on to Ready at the wire: the requests of client.sh, cloud-init and rollcall-node, each on the connection that they bring. */
export class FleetBox {
  readonly device: FakeDevice
  readonly hostname: string
  readonly role: Role
  /** What it asked, by program, route and status */
  readonly requests = new Map<string, number>()
  /** What it sent, a connection each */
  readonly sent: Sent[] = []
  readonly #site: Site
  #files = new Map<string, string>()
  #shown = ''
  #looked = 0

  constructor(site: Site, serial: string, role: Role) {
    this.#site = site
    this.device = new FakeDevice(serial)
    this.hostname = serial.toLowerCase()
    this.role = role
  }

  /** A file of its document, or one setting in it. */
  file(path: string, setting?: string): string {
    const text = this.#files.get(path) ?? ''
    return setting === undefined ? text : (new RegExp(`^${setting}[=:] *['"]?(.*?)['"]?$`, 'm').exec(text)?.[1] ?? '')
  }

  async powerOn(): Promise<void> {
    await this.#claim()
    if (this.#site.webhooks) await this.#strangers()
    await this.#webhooks(reports.slice(0, networkStage))
    await Promise.all([this.#webhooks(reports.slice(networkStage)), this.#install()])
  }

  /** client.sh, claim: a nonce that nobody took serves the next claim, while it is good. */
  async #claim(): Promise<void> {
    const nonce = await this.#challenge('client')
    for (;;) {
      const { serial: sub, jwk } = this.device
      const header = { alg: 'ES256', typ: 'ztp-claim+jwt', jwk }
      const claim = this.device.sign(header, { sub, aud: this.#site.origin, ...hints(nonce) })
      const answer = await this.#ask('client', 'POST /v1/claim', { body: claim, type: 'application/jose' })
      if (answer.status === 200) {
        this.#files = new Map(filesOf(answer.body.toString()).map(({ path, content }) => [path, content]))
        return
      }
      await patience(answer)
    }
  }

  /** What cloud-init posts until the document has brought our CA: it ends each connection when it has seen the certificate. */
  async #strangers(): Promise<void> {
    for (let n = 0; n < untrusted; n++) {
      const socket = connect({ host: '127.0.0.1', port: this.#site.port })
      await new Promise((done) => socket.once('error', done).once('secureConnect', done))
      socket.destroy()
      this.#opens()
      this.#count('cloud-init TLS refused')
    }
  }

  async #webhooks(bodies: readonly string[]): Promise<void> {
    if (!this.#site.webhooks) return
    for (const body of bodies) {
      const form = body.startsWith('{') ? {} : { type: 'application/x-www-form-urlencoded' }
      await this.#ask('cloud-init', this.#report, { body, ...form })
      await sleep(webhookEvery)
    }
  }

  /** rollcall-node, install: what there is to report when a step of K3s' begins shares a connection. */
  async #install(): Promise<void> {
    let queue: string[] = []
    const say = (step: string, result: string, detail = '') => queue.push(JSON.stringify({ step, result, detail }))
    const flush = async () => {
      const bodies = queue
      queue = []
      await this.#asks('node', this.#report, bodies)
    }
    const steps: Record<string, () => Promise<unknown>> = {
      clock: () => this.#challenge('node'),
      'document.applied': async () => {},
      'os.update': async () => {},
      'k3s.download': () => sleep(1_500),
      'k3s.install': () => sleep(500),
      'k3s.join': async () => {
        if (this.role === 'server') await this.#redeem((why) => say('k3s.join', 'start', why), flush)
        await this.#site.startK3s(this)
        if (this.role === 'server') await this.#observe()
      },
      'k3s.ready': () => sleep(300),
    }
    for (const [name, run] of Object.entries(steps)) {
      say(name, 'start')
      if (name.startsWith('k3s')) await flush()
      await run()
      say(name, 'ok')
      if (name === 'k3s.join' && this.role === 'server') this.#serve()
    }
    await flush()
  }

  /** rollcall-server, redeem */
  async #redeem(wait: (why: string) => void, flush: () => Promise<void>): Promise<void> {
    const ticket = this.file('/etc/rollcall/node.env', 'ROLLCALL_JOIN')
    for (let told = false; ; told = true) {
      const proof = this.device.joinProof(await this.#challenge('node'), ticket, { aud: this.#site.origin })
      const answer = await this.#ask('node', 'POST /v1/join', { body: proof, type: 'application/jose', bearer: ticket })
      if (answer.status === 200) {
        this.#files.set('/etc/rancher/k3s/token', answer.body.toString().trim())
        return
      }
      if (!told) wait('waiting: 503 cluster_not_ready')
      await flush()
      await patience(answer)
    }
  }

  /** rollcall-server, observe: tells what changed. */
  async #observe(): Promise<void> {
    const body = this.#site.nodes()
    this.#looked = performance.now()
    if (body !== this.#shown) await this.#asServer('PUT /v1/nodes', { body, type: 'application/json' })
    this.#shown = body
  }

  #serve(): void {
    // Switched off with its site, in the middle of a request.
    this.#tasks().catch((error: Error) => {
      if (!this.#site.over.aborted) throw error
    })
  }

  /** rollcall-server, tasks: looks at its cluster every 20 s at most, and holds a poll meanwhile. */
  async #tasks(): Promise<void> {
    this.#shown = ''
    await this.#observe()
    await this.#asServer('GET /v1/manifests')
    while (!this.#site.over.aborted) {
      if (performance.now() - this.#looked > 20_000 * pace) await this.#observe()
      const answer = await this.#asServer('GET /v1/tasks?wait=25')
      if (answer.status !== 200) continue
      const done = answer.body.toString().replace(/^(\S+) .*$/gm, '$1 ok')
      await this.#asServer('POST /v1/tasks', { body: done, type: 'text/plain' })
    }
  }

  async #challenge(program: string): Promise<string> {
    const { head } = await this.#ask(program, 'GET /v1/challenge')
    return /\r\nrollcall-nonce: (\S+)/i.exec(head)?.[1] as string
  }

  #asServer(what: string, how: How = {}): Promise<Answer> {
    return this.#ask('node', what, { ...how, bearer: this.file('/etc/rollcall/node.env', 'ROLLCALL_NODE') })
  }

  get #report(): string {
    return `POST ${new URL(this.file('/etc/rollcall/node.env', 'ROLLCALL_REPORT')).pathname}`
  }

  async #ask(program: string, what: string, how: How = {}): Promise<Answer> {
    const [answer] = await this.#asks(program, what, [how.body], how)
    return answer as Answer
  }

  /** On one new connection. */
  async #asks(program: string, what: string, bodies: readonly (string | undefined)[], how: How = {}) {
    if (bodies.length === 0) return []
    const line = new Line({ port: this.#site.port, tls: true, fresh: false })
    const answers: Answer[] = []
    const requests = this.#opens()
    for (const body of bodies) {
      const request = requestOf(program, what, { ...how, body })
      requests.push(request)
      const answer = await line.request(request)
      this.#count(`${program} ${what.replace(/report\/.*/, 'report')} ${answer.status}`)
      answers.push(answer)
    }
    line.close()
    return answers
  }

  #opens(): Buffer[] {
    const requests: Buffer[] = []
    this.sent.push({ at: performance.now(), requests })
    return requests
  }

  #count(key: string): void {
    this.requests.set(key, (this.requests.get(key) ?? 0) + 1)
  }
}

function hints(eat_nonce: string): object {
  const hw = { vendor: 'Lab', product: 'Box', serial: '', uuid: '', macs: ['02:00:00:00:00:01'] }
  return { eat_nonce, jti: randomBytes(16).toString('hex'), iat: 0, uptime: 20, hw }
}

async function patience({ status, head }: Answer): Promise<void> {
  if (status !== 503) throw new Error(`a box was refused: ${head.split('\r\n', 1)[0]}`)
  const seconds = Number(/\r\nretry-after: (\d+)/i.exec(head)?.[1] ?? 30)
  await sleep(seconds * (1 + Math.random() / 4) * 1_000 * pace)
}
