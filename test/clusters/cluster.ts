import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { findKubectl } from '../kine/kubectl.ts'
import type { Box } from '../lab/box.ts'
import { until } from '../lab/case.ts'
import { command } from '../lab/command.ts'
import { type Device, device, identify, register } from '../lab/roll.ts'
import { Balancer } from './balancer.ts'
import { version } from './releases.ts'
import type { World } from './world.ts'

/** As the admin API takes it. */
export type Datastore = { kind: string; endpoint?: string; cafile?: string; certfile?: string; keyfile?: string }
export type Role = 'server' | 'agent'
export type DeviceBody = Device & { reported: boolean; stuck_reason: string | null; must_rejoin: boolean }
export type ClusterBody = {
  id: string
  state: string
  stuck_reason: string | null
  ca_hash: string | null
  initializer: { serial: string; failure: string | null } | null
  nodes: { name: string; serial: string; state: string; observed: boolean }[]
}

/** A cluster as an admin declares it, its boxes, and the load balancer before its servers. */
export class Cluster {
  readonly name: string
  readonly boxes: Record<Role, Box[]> = { server: [], agent: [] }
  readonly #world: World
  readonly #balancer: Balancer
  readonly #keep: (file: string) => void
  readonly #isManaged: boolean

  private constructor(world: World, name: string, balancer: Balancer, kind: string, keep: (file: string) => void) {
    this.name = name
    this.#world = world
    this.#balancer = balancer
    this.#keep = keep
    this.#isManaged = kind === 'managed'
  }

  static async declare(
    world: World,
    name: string,
    datastore: Datastore,
    keep: (file: string) => void,
  ): Promise<Cluster> {
    const balancer = await Balancer.open()
    const api_endpoint = `https://${balancer.host}:${balancer.port}`
    await world.server.ask('POST', '/clusters', { name, version, api_endpoint, datastore })
    return new Cluster(world, name, balancer, datastore.kind, keep)
  }

  /** A factory-fresh box, on the roll and switched off. */
  async unpack(role: Role): Promise<Box> {
    const { lab, server, image } = this.#world
    const box = await lab.unpack(`${this.name}-${role}`, image)
    this.#watch(box)
    await register(server, box, role, this.name)
    this.boxes[role].push(box)
    if (role === 'server') this.#balancer.backends.push({ host: box.ip, port: 6443 })
    return box
  }

  /** What an admin does for a box whose disk was replaced: pins its new key and lets it enrol once more. @returns it, switched off */
  async reinstall(old: Box): Promise<Box> {
    const { lab, server, image } = this.#world
    const box = await lab.reinstall(old, image)
    this.#watch(box)
    const { identity } = await identify(box)
    await server.ask('PATCH', `/devices/${encodeURIComponent(box.serial)}`, { identity })
    await this.deviceVerb(box, 'reenroll')
    for (const list of Object.values(this.boxes)) if (list.includes(old)) list[list.indexOf(old)] = box
    return box
  }

  #watch(box: Box): void {
    const files = ['/var/lib/k3s-sim/steps', '/etc/rancher/k3s/config.yaml'].map((file) => box.path(file))
    for (const file of [`${box.dir}/console`, `${box.dir}/init.log`, ...files]) this.#keep(file)
  }

  get all(): Box[] {
    return [...this.boxes.server, ...this.boxes.agent]
  }

  body(): Promise<ClusterBody> {
    return this.#world.server.ask<ClusterBody>('GET', `/clusters/${this.name}`)
  }

  verb(verb: string, body?: unknown): Promise<unknown> {
    return this.#world.server.ask('POST', `/clusters/${this.name}/${verb}`, body)
  }

  device(box: Box): Promise<DeviceBody> {
    return device(this.#world.server, box) as never
  }

  deviceVerb(box: Box, verb: string): Promise<unknown> {
    return this.#world.server.ask('POST', `/devices/${encodeURIComponent(box.serial)}/${verb}`)
  }

  /** Waits until the roll shows these boxes Ready, as their cluster itself shows them, and not by their own word. */
  async ready(boxes: readonly Box[] = this.all, seconds = 240): Promise<void> {
    let last: unknown
    let stuck: string | null = null
    await until(
      `${this.name}: ${boxes.length} boxes ready`,
      async () => {
        const { state, stuck_reason: why } = await this.body()
        if (state === 'stuck') stuck = why
        if (stuck) return true
        const devices = await Promise.all(boxes.map((box) => this.device(box)))
        last = devices.map(({ serial, state, reported, stuck_reason }) => ({ serial, state, reported, stuck_reason }))
        return devices.every(({ state, reported }) => state === 'ready' && !reported)
      },
      { every: 500, seconds },
    ).catch(async (error: Error) => {
      throw new Error(`${error.message}\n${JSON.stringify(last)}\n${JSON.stringify(await this.body())}`)
    })
    if (stuck) throw new Error(`${this.name} is stuck: ${stuck}`)
  }

  /** kubectl with the admin's kubeconfig of a server, from outside. @returns what it printed */
  async kubectl(box: Box, ...args: string[]): Promise<string> {
    const config = await readFile(box.path('/etc/rancher/k3s/k3s.yaml'), 'utf8')
    const file = `${box.dir}/kubeconfig`
    await writeFile(file, config.replace('127.0.0.1', box.ip), { mode: 0o600 })
    return (await command(findKubectl() as string, ['--kubeconfig', file, ...args])).stdout
  }

  /** Waits until the roll says of the cluster what `check` looks for. */
  async says(what: string, check: (body: ClusterBody) => boolean, seconds = 240): Promise<ClusterBody> {
    return until(
      `${this.name}: ${what}`,
      async () => {
        const body = await this.body()
        return check(body) ? body : undefined
      },
      { every: 2_000, seconds },
    )
  }

  /** Has K3s on a box stop at a point until the hold is lifted; set before it gets there. */
  async hold(box: Box, step: string): Promise<void> {
    await mkdir(box.path('/var/lib/k3s-sim/hold'), { recursive: true })
    await writeFile(box.path(`/var/lib/k3s-sim/hold/${step}`), '')
  }

  async lift(box: Box, step: string): Promise<void> {
    await rm(box.path(`/var/lib/k3s-sim/hold/${step}`))
  }

  async reaches(box: Box, step: string, times = 1): Promise<void> {
    await until(
      `${box.serial}: K3s reaches ${step}`,
      async () => (await this.steps(box)).filter((one) => one === step).length >= times,
      { every: 50 },
    )
  }

  /** The points that K3s reached on a box, in order, all starts. */
  async steps(box: Box): Promise<string[]> {
    return ((await box.read('/var/lib/k3s-sim/steps')) ?? '').split('\n').filter(Boolean)
  }

  /** Takes it off the roll as an admin does, so that it counts no more against PostgreSQL's connections. */
  async #retire(): Promise<void> {
    const { server } = this.#world
    for (const { serial } of this.all) await server.ask('DELETE', `/devices/${encodeURIComponent(serial)}`)
    await server.ask('DELETE', `/clusters/${this.name}`)
    if (this.#isManaged) await this.verb('purge')
  }

  /** Lets `use` do with a cluster what it likes; its boxes stop in the end. */
  static async with(
    world: World,
    name: string,
    datastore: Datastore,
    keep: (file: string) => void,
    use: (cluster: Cluster) => Promise<void>,
  ): Promise<void> {
    const cluster = await Cluster.declare(world, name, datastore, keep)
    try {
      await use(cluster)
      await Promise.all(cluster.all.map((box) => box.scrap()))
      await cluster.#retire()
    } catch (error) {
      // What is kept is read later: boxes stop, their disks stay.
      await Promise.all(cluster.all.map((box) => box.cut()))
      await cluster.#retire().catch(() => {})
      throw error
    } finally {
      cluster.#balancer.close()
    }
  }
}
