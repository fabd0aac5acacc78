import { readFile, writeFile } from 'node:fs/promises'
import { findKubectl } from '../kine/kubectl.ts'
import type { Box } from '../lab/box.ts'
import { until } from '../lab/case.ts'
import { command } from '../lab/command.ts'
import { type Device, device, register } from '../lab/roll.ts'
import { Balancer } from './balancer.ts'
import { version } from './releases.ts'
import type { World } from './world.ts'

export type Role = 'server' | 'agent'
export type ClusterBody = {
  id: string
  state: string
  stuck_reason: string | null
  ca_hash: string | null
  initializer: { serial: string } | null
  nodes: { name: string; serial: string; state: string; observed: boolean }[]
}

/** A cluster as an admin declares it, its boxes, and the load balancer before its servers. */
export class Cluster {
  readonly name: string
  readonly boxes: Record<Role, Box[]> = { server: [], agent: [] }
  readonly #world: World
  readonly #balancer: Balancer
  readonly #keep: (file: string) => void

  private constructor(world: World, name: string, balancer: Balancer, keep: (file: string) => void) {
    this.name = name
    this.#world = world
    this.#balancer = balancer
    this.#keep = keep
  }

  static async declare(world: World, name: string, datastore: unknown, keep: (file: string) => void): Promise<Cluster> {
    const balancer = await Balancer.open()
    const api_endpoint = `https://${balancer.host}:${balancer.port}`
    await world.server.ask('POST', '/clusters', { name, version, api_endpoint, datastore })
    return new Cluster(world, name, balancer, keep)
  }

  /** A factory-fresh box, on the roll and switched off. */
  async unpack(role: Role): Promise<Box> {
    const { lab, server, image } = this.#world
    const box = await lab.unpack(`${this.name}-${role}`, image)
    for (const file of [`${box.dir}/console`, `${box.dir}/init.log`, box.path('/var/lib/k3s-sim/steps')])
      this.#keep(file)
    await register(server, box, role, this.name)
    this.boxes[role].push(box)
    if (role === 'server') this.#balancer.backends.push({ host: box.ip, port: 6443 })
    return box
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

  device(box: Box): Promise<Device & { reported: boolean; stuck_reason: string | null }> {
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

  /** The points that K3s reached on a box, in order, all starts. */
  async steps(box: Box): Promise<string[]> {
    return ((await box.read('/var/lib/k3s-sim/steps')) ?? '').split('\n').filter(Boolean)
  }

  /** Throws all of it away. */
  async scrap(): Promise<void> {
    this.#balancer.close()
    await Promise.all(this.all.map((box) => box.scrap()))
  }

  /** Lets `use` do with a cluster what it likes; its boxes stop in the end. */
  static async with(
    world: World,
    name: string,
    datastore: unknown,
    keep: (file: string) => void,
    use: (cluster: Cluster) => Promise<void>,
  ): Promise<void> {
    const cluster = await Cluster.declare(world, name, datastore, keep)
    try {
      await use(cluster)
      await cluster.scrap()
    } catch (error) {
      cluster.#balancer.close()
      // What is kept is read later: boxes stop, their disks stay.
      await Promise.all(cluster.all.map((box) => box.cut()))
      throw error
    }
  }
}
