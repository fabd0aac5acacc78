import { createHash, randomBytes } from 'node:crypto'
import { eq } from 'drizzle-orm'
import postgres, { type Sql } from 'postgres'
import { loginPassword, loginRole } from '../../src/k3s/datastore-names.ts'
import { enrollments } from '../../src/store/schema.ts'
import { type Desk, problemOf } from './desk.ts'
import { FakeDevice } from './device.ts'
import { addEnrollment } from './enrollment.ts'
import { bootstrapKey, makeClusterFiles, sealFiles } from './k3s/bootstrap.ts'
import { addDevice } from './world.ts'

/** K3s' own table (fixtures/k3s-v1.36.3/kine-table.txt). */
const table = `create table if not exists kine (id bigserial primary key, name text collate "C", created integer, deleted integer,
  create_revision bigint, prev_revision bigint, lease integer, value bytea, old_value bytea)`

/** A server of a managed cluster that has its document: it redeems as rollcall-node does, and writes what K3s writes. */
export class GateBox {
  readonly id: string
  readonly enrollment: string
  readonly serial: string
  readonly #desk: Desk
  readonly #device: FakeDevice
  private readonly secrets = {
    ticket: randomBytes(32).toString('base64url'),
    report: randomBytes(24).toString('base64url'),
    credential: randomBytes(32).toString('base64url'),
  }

  private constructor(desk: Desk, device: FakeDevice, id: string, enrollment: string) {
    this.#desk = desk
    this.#device = device
    this.id = id
    this.enrollment = enrollment
    this.serial = device.serial
  }

  static async add(desk: Desk, where: { profile: string; cluster: string }): Promise<GateBox> {
    const device = new FakeDevice(`BOX-${randomBytes(4).toString('hex')}`)
    const id = await addDevice(desk.world, device, where)
    const enrollment = await addEnrollment(desk.world, device.serial, { role: 'server' })
    return GateBox.#with(desk, device, id, enrollment)
  }

  /** The same machine after another claim: its enrollment before ended. */
  async again(): Promise<GateBox> {
    const at = new Date(this.#desk.world.now() * 1000)
    await this.#desk.world.db
      .update(enrollments)
      .set({ endedAt: at, endReason: 'replaced' })
      .where(eq(enrollments.id, this.enrollment))
    const enrollment = await addEnrollment(this.#desk.world, this.serial, { role: 'server' })
    return GateBox.#with(this.#desk, this.#device, this.id, enrollment)
  }

  static async #with(desk: Desk, device: FakeDevice, id: string, enrollment: string): Promise<GateBox> {
    const box = new GateBox(desk, device, id, enrollment)
    const hash = (secret: string) => createHash('sha256').update(secret).digest()
    await desk.world.db
      .update(enrollments)
      .set({
        joinHash: hash(box.secrets.ticket),
        nodeHash: hash(box.secrets.credential),
        reportHash: hash(box.secrets.report),
        thumbprint: device.thumbprint,
      })
      .where(eq(enrollments.id, enrollment))
    return box
  }

  /** The same machine, which asks another server of the same roll. */
  through(desk: Desk): GateBox {
    const box = new GateBox(desk, this.#device, this.id, this.enrollment)
    return Object.assign(box, { secrets: this.secrets })
  }

  async redeem(): Promise<Response> {
    return this.#desk.redeem(this.secrets.ticket, this.#device.joinProof(await this.#desk.nonce(), this.secrets.ticket))
  }

  /**
   * `200`, or status and code of the refusal.
   * @param retryKey instead of a proof, for an enrollment that is weaker than `key`
   */
  async ask(retryKey?: string): Promise<string> {
    const answer = await (retryKey === undefined ? this.redeem() : this.#redeemWeakly(retryKey))
    return answer.status === 200 ? '200' : `${answer.status} ${(await problemOf(answer)).code}`
  }

  #redeemWeakly(retryKey: string): Promise<Response> {
    const headers = { authorization: `Bearer ${this.secrets.ticket}`, 'rollcall-retry-key': retryKey }
    return Promise.resolve(this.#desk.app.request('/v1/join', { method: 'POST', headers }))
  }

  async reports(step: string, result: string): Promise<void> {
    await this.#desk.report(this.secrets.report, { step, result })
  }

  /** `PUT /v1/nodes`. @param names of Nodes that are Ready, as it says */
  async says(caHash: string, names: readonly string[] = []): Promise<number> {
    const nodes = names.map((name) => ({ name, ready: true, version: 'v1.36.3+k3s1' }))
    const body = JSON.stringify({ ca_hash: caHash, nodes, pods_not_running: 0 })
    const headers = { authorization: `Bearer ${this.secrets.credential}` }
    return (await this.#desk.app.request('/v1/nodes', { method: 'PUT', body, headers })).status
  }

  /** A session as kine opens one. */
  async session(): Promise<Sql> {
    const { port } = new URL(this.#desk.world.url)
    return postgres({
      host: '127.0.0.1',
      port: Number(port),
      ssl: { ca: this.#desk.world.managed?.ca, servername: 'localhost' } as never,
      user: loginRole(this.enrollment),
      password: loginPassword(this.#desk.world.keys.nodePassword, this.enrollment),
      database: 'rollcall_k3s',
      max: 1,
      connect_timeout: 5,
      fetch_types: false,
      onnotice: () => {},
    })
  }

  /** Whether it may write to its cluster's datastore now. */
  async canWrite(): Promise<boolean> {
    const sql = await this.session()
    try {
      await sql.unsafe('create table if not exists probe (x int)')
      return true
    } catch {
      return false
    } finally {
      await sql.end({ timeout: 1 })
    }
  }

  /** K3s took the lock of the first server. */
  async lock(sql: Sql, token: string): Promise<void> {
    await sql.unsafe(table)
    await this.#write(sql, token, Buffer.alloc(0))
  }

  /** K3s made the cluster. @returns its CA, PEM */
  async finish(sql: Sql, token: string): Promise<string> {
    await sql.unsafe(table)
    const files = await makeClusterFiles(token)
    await this.#write(sql, token, sealFiles(token, files, new Date()))
    return files.ServerCA as string
  }

  async #write(sql: Sql, token: string, value: Buffer): Promise<void> {
    await sql`insert into kine (name, created, deleted, create_revision, prev_revision, lease, value)
      values (${bootstrapKey(token)}, 1, 0, 0, 0, 0, ${value})`
  }
}
