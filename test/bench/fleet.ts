import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres, { type Sql } from 'postgres'
import { leasePrefix, nodePrefix, readRenewTime } from '../../src/k3s/node-record.ts'
import { kineTable } from '../datastore/clusters.ts'
import { Serving } from '../e2e/serving.ts'
import { bootstrapKey, type ClusterFiles, makeClusterFiles, sealFiles } from '../fakes/k3s/bootstrap.ts'
import { FleetBox, type Role } from './fleet-box.ts'
import { table } from './measure.ts'
import { cpuOf, cpuOfFamily } from './process-cost.ts'

/** Milliseconds until a played K3s is up. */
const k3s = { first: 3_000, server: 1_500, agent: 1_000 } as const
/** Seconds that the server has nothing to do before the boxes are switched on. */
const rest = 3
/** A server that just started, and the same one afterwards. */
const passes = ['cold', 'warm'] as const
const version = 'v1.36.3+k3s1'
const hash = 'ab'.repeat(32)

/** CPU in milliseconds. */
type Cost = { node: number; postgres: number }
type Played = { boxes: FleetBox[]; started: Cost; idle: Cost; used: Cost; seconds: number; looks: number }

/**
 * What a cluster that comes up at once costs its server: the real one, compiled, with its embedded PostgreSQL and the managed datastore in it. Boxes are
 * played at the wire, from power-on to Ready as the roll observes it, with cloud-init's webhooks and without. Each time on a server that just
 * started, where code that never ran before costs more, and once more on the same server, with as many other boxes.
 */
export async function fleet(say: (text: string) => void, progress: (text: string) => void, agents = 47): Promise<void> {
  const size = { server: 3, agent: agents }
  const rows: string[][] = []
  let requests = ''
  for (const webhooks of [false, true]) {
    const name = webhooks ? "with cloud-init's webhooks" : 'without'
    const played = await play(size, webhooks)
    played.forEach((one, n) => {
      rows.push([`${name}, ${passes[n]}`, ...figures(one)])
      requests = told(one)
    })
    progress(`fleet, ${name}`)
  }
  say(
    `A cluster of ${size.server} servers and ${size.agent} agents from power-on to all Ready, each request on the connection that a real box brings`,
  )
  say(
    table(
      ['', 'seconds', 'connections', 'node ms', 'node ms a box', 'postgres ms', 'node before: start, ms', 'idle, ms/s'],
      rows,
    ),
  )
  say('Target for node: < 1,000 ms. In "node ms" is what it uses when idle, too.')
  say(`Requests a box, with webhooks:\n${requests}`)
}

function figures({ boxes, started, idle, used, seconds }: Played): string[] {
  const whole = (value: number) => Math.round(value).toLocaleString('en')
  const connections = boxes.reduce((sum, box) => sum + box.connections, 0)
  return [
    seconds.toFixed(0),
    whole(connections),
    whole(used.node),
    whole(used.node / boxes.length),
    whole(used.postgres),
    whole(started.node),
    idle.node.toFixed(1),
  ]
}

/** Mean requests of a server and of an agent, by program, route and status. */
function told({ boxes }: Played): string {
  const roles = ['server', 'agent'] as const
  const of = (role: Role) => boxes.filter((box) => box.role === role)
  const names = new Set(boxes.flatMap((box) => [...box.requests.keys()]))
  const mean = (role: Role, name: string) =>
    (of(role).reduce((sum, box) => sum + (box.requests.get(name) ?? 0), 0) / of(role).length).toFixed(1)
  const rows = [...names].sort().map((name) => [name, ...roles.map((role) => mean(role, name))])
  return table(['', ...roles], rows)
}

async function play(size: Record<Role, number>, webhooks: boolean): Promise<Played[]> {
  const settings = {
    ROLLCALL_LOG_LEVEL: 'info',
    ROLLCALL_DATASTORE_ADDRESS: `127.0.0.1:${await freePort()}`,
    ROLLCALL_DATASTORE_NETWORKS: '127.0.0.0/8',
  }
  const serving = new Serving(settings, false)
  try {
    await serving.start()
    await describe(serving)
    const played: Played[] = []
    for (const name of passes) played.push(await playOn(serving, name, size, webhooks))
    return played
  } finally {
    await serving.end()
  }
}

/** @param name of the cluster, and in its boxes' serials */
async function playOn(serving: Serving, name: string, size: Record<Role, number>, webhooks: boolean): Promise<Played> {
  const over = new AbortController()
  const cluster = new PlayedCluster()
  const { startK3s, nodes } = cluster
  const site = { origin: serving.origin, port: serving.port, webhooks, startK3s, nodes, over: over.signal }
  const boxes = (['server', 'agent'] as const).flatMap((role) =>
    Array.from({ length: size[role] }, (_, n) => new FleetBox(site, `${name}-${role}-${n}`.toUpperCase(), role)),
  )
  try {
    await putOnRoll(serving, name, boxes)
    const cost = costOf(serving)
    const started = cost()
    await sleep(rest * 1_000)
    const rested = cost()
    const begun = performance.now()
    await Promise.all(boxes.map((box) => box.powerOn()))
    const looks = await allReady(serving, name, boxes.length)
    const used = less(cost(), rested)
    const seconds = (performance.now() - begun) / 1_000
    const idle = less(rested, started)
    return { boxes, started, idle: { node: idle.node / rest, postgres: idle.postgres / rest }, used, seconds, looks }
  } finally {
    over.abort()
    await cluster.end()
  }
}

const less = (a: Cost, b: Cost): Cost => ({ node: a.node - b.node, postgres: a.postgres - b.postgres })

function costOf(serving: Serving): () => Cost {
  const postmaster = serving.postmaster()
  return () => ({ node: cpuOf(serving.pid) / 1_000, postgres: cpuOfFamily(postmaster) / 1_000 })
}

async function describe(serving: Serving): Promise<void> {
  await post(serving, '/versions', {
    version,
    artifacts: { amd64: { sha256: hash } },
    install_script: { sha256: hash },
  })
  for (const role of ['server', 'agent'])
    await post(serving, '/profiles', { name: role, document: 'cloud-init', role, template: 'builtin:debian', vars: {} })
}

async function putOnRoll(serving: Serving, cluster: string, boxes: readonly FleetBox[]): Promise<void> {
  const api_endpoint = `https://${cluster}.fleet.example:6443`
  await post(serving, '/clusters', { name: cluster, version, api_endpoint, datastore: { kind: 'managed' } })
  for (const { device, role } of boxes) {
    const identity = { kind: 'key', jwk: device.jwk }
    await post(serving, '/devices', { serial: device.serial, profile: role, cluster, identity })
  }
}

async function post(serving: Serving, path: string, body: unknown): Promise<void> {
  const answer = await serving.admin('POST', `/api/v1${path}`, body)
  if (answer.status !== 201) throw new Error(`POST ${path}: ${answer.status} ${answer.body}`)
}

/** @returns how often it was looked */
async function allReady(serving: Serving, cluster: string, count: number): Promise<number> {
  let body = ''
  for (let looks = 1; looks < 60; looks++) {
    body = (await serving.admin('GET', `/api/v1/clusters/${cluster}`)).body
    const { nodes } = JSON.parse(body) as { nodes: { state: string; observed: boolean }[] }
    if (nodes.filter(({ state, observed }) => state === 'ready' && observed).length === count) return looks
    await sleep(1_000)
  }
  throw new Error(`the boxes did not become ready: ${body}`)
}

// What a real K3s v1.36.3 kept of a Node and its Lease.
const rows = new Map(
  readFileSync(new URL('../fixtures/k3s-v1.36.3/kine-rows.tsv', import.meta.url), 'utf8')
    .split('\n')
    .map((line) => line.split('\t'))
    .map(([id = '', , , , , , , value = '']) => [id, Buffer.from(value, 'hex')]),
)

const readyNode = rows.get('3068') as Buffer
const lease = rows.get('3069') as Buffer

/** With its time of renewal, a protobuf varint. */
function leaseOf(now: number): Buffer {
  const bytes = Buffer.from(lease)
  varint(now).copy(bytes, bytes.lastIndexOf(varint(readRenewTime(lease) as number)))
  return bytes
}

const varint = (value: number) =>
  Buffer.from([0, 1, 2, 3, 4].map((i) => (Math.floor(value / 128 ** i) % 128) + (i < 4 ? 128 : 0)))

/** The cluster as its servers write it into the datastore, over the login that their document and their token give them. */
class PlayedCluster {
  readonly #names: string[] = []
  #sql: Sql | undefined
  #files: ClusterFiles | undefined

  readonly startK3s = async (box: FleetBox): Promise<void> => {
    if (box.role === 'server' && !this.#sql) await this.#begin(box)
    else await sleep(k3s[box.role])
    this.#names.push(box.hostname)
    await this.#insert(nodePrefix + box.hostname, readyNode)
    await this.#insert(leasePrefix + box.hostname, leaseOf(Math.floor(Date.now() / 1_000)))
  }

  readonly nodes = (): string => {
    const ca_hash = createHash('sha256')
      .update(this.#files?.ServerCA ?? '')
      .digest('hex')
    const nodes = this.#names.map((name) => ({ name, ready: true, version }))
    return JSON.stringify({ ca_hash, nodes, pods_not_running: 0 })
  }

  async end(): Promise<void> {
    await this.#sql?.end({ timeout: 1 })
  }

  /** The first server makes the table and what all of them share. */
  async #begin(box: FleetBox): Promise<void> {
    const url = new URL(box.file('/etc/rancher/k3s/config.yaml', 'datastore-endpoint'))
    url.search = ''
    const ca = box.file('/etc/rancher/k3s/datastore-ca.pem')
    this.#sql = postgres(url.href, { max: 1, onnotice: () => {}, ssl: { ca, servername: '' } })
    await this.#sql.unsafe(kineTable)
    const token = box.file('/etc/rancher/k3s/token')
    await this.#insert(bootstrapKey(token), Buffer.alloc(0))
    this.#files = await makeClusterFiles(token)
    await sleep(k3s.first)
    await this
      .#sql`update kine set value = ${sealFiles(token, this.#files, new Date())} where name = ${bootstrapKey(token)}`
  }

  async #insert(name: string, value: Buffer): Promise<void> {
    if (this.#sql)
      await this.#sql`insert into kine (name, created, deleted, create_revision, prev_revision, lease, value)
      values (${name}, 1, 0, 0, 0, 0, ${value})`
  }
}

const freePort = () =>
  new Promise<number>((found) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => found(port))
    })
  })
