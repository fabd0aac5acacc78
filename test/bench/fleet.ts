import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../../src/postgres/port.ts'
import { Serving } from '../e2e/serving.ts'
import { FleetBox, type Role } from './fleet-box.ts'
import { FleetCluster } from './fleet-cluster.ts'
import { table } from './measure.ts'
import { cpuOf, cpuOfFamily } from './process-cost.ts'
import { replay } from './replay.ts'

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
 * started, where code that never ran before costs more, and once more on the same server, with as many other boxes. The peer is a Node server that
 * does nothing: what the boxes' connections cost whoever takes them.
 */
export async function fleet(say: (text: string) => void, progress: (text: string) => void, agents = 47): Promise<void> {
  const size = { server: 3, agent: agents }
  const rows: string[][] = []
  let requests = ''
  for (const webhooks of [false, true]) {
    const name = webhooks ? "with cloud-init's webhooks" : 'without'
    const played = await play(size, webhooks)
    const bare = await replay(played.map(({ boxes }) => boxes.flatMap((box) => box.sent)))
    played.forEach((one, n) => {
      rows.push([`${name}, ${passes[n]}`, ...figures(one, bare[n] as number)])
      requests = told(one)
    })
    progress(`fleet, ${name}`)
  }
  say(
    `A cluster of ${size.server} servers and ${size.agent} agents from power-on to all Ready, each request on the connection that a real box brings`,
  )
  say(
    table(
      [
        '',
        'seconds',
        'connections',
        'node ms',
        'bare node ms',
        'ratio',
        'postgres ms',
        'before: start, ms',
        'idle, ms/s',
      ],
      rows,
    ),
  )
  say(
    'Target for node: < 1,000 ms. In "node ms" is what it uses when idle, too, and for who asks each second how far the cluster is; "bare" is a server that answers 204 to what the boxes send.',
  )
  say(`Requests a box, with webhooks:\n${requests}`)
}

function figures({ boxes, started, idle, used, seconds }: Played, bare: number): string[] {
  const whole = (value: number) => Math.round(value).toLocaleString('en')
  const connections = boxes.reduce((sum, box) => sum + box.sent.length, 0)
  return [
    seconds.toFixed(0),
    whole(connections),
    whole(used.node),
    whole(bare),
    (used.node / bare).toFixed(2),
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
  const cluster = new FleetCluster(version)
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
