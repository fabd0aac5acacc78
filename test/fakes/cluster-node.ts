import { createHash, randomBytes } from 'node:crypto'
import { eq } from 'drizzle-orm'
import type { createApp } from '../../src/app.ts'
import { enrollments } from '../../src/store/schema.ts'
import { FakeDevice } from './device.ts'
import { addEnrollment, type Live } from './enrollment.ts'
import { addDevice, type World } from './world.ts'

type App = Pick<ReturnType<typeof createApp>, 'request'>

/** A server of a cluster with its node credential, talking as `rollcall-node` does. */
export class ClusterNode {
  readonly credential: string
  readonly deviceId: string
  readonly enrollmentId: string
  readonly name: string
  readonly #app: App

  private constructor(app: App, own: Pick<ClusterNode, 'credential' | 'deviceId' | 'enrollmentId' | 'name'>) {
    this.#app = app
    this.credential = own.credential
    this.deviceId = own.deviceId
    this.enrollmentId = own.enrollmentId
    this.name = own.name
  }

  /** Puts a server with a live enrollment on the roll, which redeemed its ticket. */
  static async add(world: World, app: App, where: { profile: string; cluster: string }, live: Live = {}) {
    const device = new FakeDevice(`NODE-${randomBytes(4).toString('hex')}`)
    const deviceId = await addDevice(world, device, where)
    const enrollmentId = await addEnrollment(world, device.serial, { role: 'server', redeemed: true, ...live })
    const credential = randomBytes(32).toString('base64url')
    const nodeHash = createHash('sha256').update(credential).digest()
    await world.db.update(enrollments).set({ nodeHash }).where(eq(enrollments.id, enrollmentId))
    return new ClusterNode(app, { credential, deviceId, enrollmentId, name: device.serial.toLowerCase() })
  }

  poll(wait: number | string = 0, signal?: AbortSignal): Promise<Response> {
    return this.ask('GET', `/v1/tasks?wait=${wait}`, undefined, signal)
  }

  tell(lines: string): Promise<Response> {
    return this.ask('POST', '/v1/tasks', lines)
  }

  putNodes(body: unknown): Promise<Response> {
    return this.ask('PUT', '/v1/nodes', typeof body === 'string' ? body : JSON.stringify(body))
  }

  ask(method: string, path: string, body?: string, signal?: AbortSignal): Promise<Response> {
    const headers = {
      authorization: `Bearer ${this.credential}`,
      'content-length': String(Buffer.byteLength(body ?? '')),
    }
    const init = { method, headers, ...(body === undefined ? {} : { body }), ...(signal ? { signal } : {}) }
    return Promise.resolve(this.#app.request(path, init))
  }
}
