import { AppError } from '../../src/errors.ts'
import { type CaHashView, judgeCaHash } from '../../src/k3s/ca-hash-verdict.ts'
import { type GateView, leaseSeconds } from '../../src/k3s/gate.ts'
import { type GatePorts, letIn } from '../../src/services/pass-gate.ts'
import { type Chance, chance, VirtualTime } from './virtual-time.ts'

export type Kind = 'managed' | 'postgres' | 'embedded-etcd'

/** The machine was cut off, or the roll's process died; nobody hears of it. */
class Cut extends Error {}

type Box = {
  id: string
  /** Dead for good */
  gone: boolean
  /** It was given the server token: K3s starts whenever the machine does. */
  token: boolean
  start: 'init' | 'join' | undefined
  joined: boolean
}

/**
 * Many servers of one cluster, and everything that goes wrong with them: power cuts, processes of the roll that die between two steps, reports that
 * come late or never. The gate is the real one; the roll's database, the datastore and K3s are played by the rules in reference/k3s.md.
 */
export class GateWorld {
  readonly time = new VirtualTime(1_000_000)
  readonly wrongs: string[] = []
  readonly boxes: Box[]
  /** CAs that were ever finished in the datastore */
  readonly cas: string[] = []
  passes = 0
  stops = 0
  readonly cluster = {
    state: 'virgin' as GateView['state'],
    caHash: null as string | null,
    caHashFrom: null as string | null,
  }
  readonly #kind: Kind
  readonly #chance: Chance
  readonly #trouble: number
  #lease: { deviceId: string; until: number } | null = null
  /** Whoever was given the server token */
  readonly #trusted = new Set<string>()
  /** The roll's notes of logins, and what Postgres knows of them */
  readonly #noted = new Set<string>()
  readonly #logins = new Set<string>()
  #row: 'virgin' | 'locked' | 'ready' = 'virgin'
  /** Who is making the cluster right now */
  readonly #makers = new Set<string>()

  constructor(seed: number, kind: Kind, servers: number, trouble: number) {
    this.#kind = kind
    this.#chance = chance(seed)
    this.#trouble = trouble
    this.boxes = Array.from({ length: servers }, (_, n) => {
      return { id: `dev_${n}`, gone: false, token: false, start: undefined, joined: false }
    })
  }

  /** @returns whether everybody came to an end within a day */
  async run(): Promise<boolean> {
    for (const box of this.boxes) void this.#live(box)
    if (this.#kind !== 'managed') void this.#admin()
    return this.time.run(this.time.now + 86_400, () => this.#check())
  }

  #check(): void {
    if (this.#row !== 'ready' && this.#logins.size > 1)
      this.#wrong(`open logins before it is ready: ${[...this.#logins]}`)
    if (this.#makers.size > 1) this.#wrong(`two make the cluster: ${[...this.#makers]}`)
    if (this.cas.length > 1) this.#wrong('two CAs')
  }

  #wrong(what: string): void {
    if (!this.wrongs.includes(what)) this.wrongs.push(what)
  }

  // A life of a machine: power on, ask, start K3s, be cut off at any moment, begin again.
  async #live(box: Box): Promise<void> {
    const { between, happens } = this.#chance
    await this.time.sleep(between(0, 300))
    while (!box.gone && !box.joined) {
      try {
        // What was installed starts with the machine and asks nobody.
        if (box.token && happens(0.5)) await this.#k3s(box)
        else {
          box.start = await letIn(this.#ports(box), box.id)
          this.#maybeCut(box)
          box.token = true
          await this.#k3s(box)
        }
        await this.#report(box)
      } catch (error) {
        if (error instanceof AppError) await this.time.sleep((error.retryAfter ?? 15) * between(2, 8))
        else if (error instanceof Cut) await this.time.sleep(happens(0.2) ? between(600, 3_000) : between(5, 120))
        else this.#wrong(String(error instanceof Error ? error.stack : error))
      }
    }
    this.#makers.delete(box.id)
  }

  #maybeCut(box: Box): void {
    if (box.gone) throw new Cut()
    // Whoever goes first is unluckier than the others.
    const misfortune = this.#lease?.deviceId === box.id ? 6 : 1
    if (!this.#chance.happens(this.#trouble * misfortune)) return
    if (this.#chance.happens(0.3)) box.gone = true
    throw new Cut()
  }

  // Each step of a request takes its time; the process may die before it does something, or after it and before it says so.
  async #step<T>(box: Box, act: () => T, longest = 0.2): Promise<T> {
    await this.time.sleep(this.#chance.between(0, longest))
    this.#maybeCut(box)
    const result = act()
    await this.time.sleep(this.#chance.between(0, longest))
    this.#maybeCut(box)
    return result
  }

  #ports(box: Box): GatePorts {
    const step = <T>(act: () => T, longest?: number) => this.#step(box, act, longest)
    const shut = () => !(this.cluster.state === 'up' || this.#isTurnOf(box.id))
    const forbid = (ids: readonly string[]) => {
      for (const id of ids) this.#logins.delete(id)
      for (const id of ids) this.#makers.delete(id)
    }
    const noted = (ids: readonly string[]) => {
      for (const id of ids) this.#noted.delete(id)
    }
    const fence = async (ids: readonly string[]) => {
      await step(() => forbid(ids), 10)
      await step(() => noted(ids))
    }
    const managed: Partial<GatePorts> = {
      readBootstrap: () => step(() => this.#row, 2),
      learn: () => step(() => this.#hear('datastore', this.cas[0] as string)),
      fence,
      restore: async (ids) => {
        await step(() => this.cluster.state === 'up' && ids.forEach((id) => void this.#noted.add(id)))
        await step(() => this.cluster.state === 'up' && ids.forEach((id) => void this.#logins.add(id)), 5)
      },
      login: {
        note: () => step(() => !shut() && Boolean(this.#noted.add(box.id))),
        make: () => step(() => void this.#logins.add(box.id), 5),
        end: () => fence([box.id]),
      },
    }
    const none = async () => {}
    return {
      now: () => this.time.now,
      look: () => step(() => this.#view(box)),
      lease: (seen) => step(() => this.#take(box, seen)),
      stick: (seen, reason) => step(() => this.#stop(seen, reason)),
      remove: none,
      readBootstrap: async () => 'virgin',
      learn: none,
      fence: none,
      restore: none,
      ...(this.#kind === 'managed' ? managed : {}),
      mark: () =>
        step(() => {
          if (shut() || (this.#kind === 'managed' && !this.#noted.has(box.id))) return 'shut'
          this.#trusted.add(box.id)
          return 'marked'
        }),
    }
  }

  #isTurnOf = (id: string) => this.cluster.state === 'initializing' && this.#lease?.deviceId === id

  #view(box: Box): GateView {
    const { state, caHash } = this.cluster
    const lease = this.#lease && {
      ...this.#lease,
      serial: this.#lease.deviceId,
      used: this.#trusted.has(this.#lease.deviceId),
    }
    const open = state === 'up' ? [] : [...this.#noted].filter((id) => id !== box.id)
    return { state, datastore: this.#kind, caHashKnown: caHash !== null, lease, open, begun: false, former: 'none' }
  }

  #take(box: Box, seen: GateView): boolean {
    const { state } = this.cluster
    const mine = this.#lease?.deviceId === box.id
    const may = state === 'virgin' || state === 'initializing' || (state === 'stuck' && mine)
    if (!may || this.#lease?.deviceId !== seen.lease?.deviceId) return false
    if (this.#lease && !mine && this.#lease.until > this.time.now) return false
    if (this.#lease && !mine) {
      this.passes++
      if (this.cluster.caHashFrom === this.#lease.deviceId)
        Object.assign(this.cluster, { caHash: null, caHashFrom: null })
    }
    this.#lease = { deviceId: box.id, until: this.time.now + leaseSeconds }
    this.cluster.state = 'initializing'
    return true
  }

  #stop(seen: GateView, reason: string): void {
    if (this.#lease?.deviceId !== seen.lease?.deviceId || (this.#lease?.until ?? 0) > this.time.now) return
    if (this.cluster.state !== 'virgin' && this.cluster.state !== 'initializing') return
    if (reason === '') this.#wrong('stuck without a reason')
    this.cluster.state = 'stuck'
    this.stops++
  }

  // Reference: k3s.md §3 and §9. A lock is waited for and then deleted; a row that is there is used.
  async #k3s(box: Box): Promise<void> {
    const { between } = this.#chance
    const write = async (act: () => void, longest: number) => {
      // Some are so slow that their turn runs out.
      const slow = this.#trouble > 0 && this.#chance.happens(0.1) ? 60 : 1
      await this.time.sleep(between(0, longest * slow))
      if (this.#kind === 'managed' && !this.#logins.has(box.id)) throw new Cut()
      this.#maybeCut(box)
      act()
    }
    try {
      if (this.#kind === 'embedded-etcd' && box.start === 'join' && this.#row !== 'ready') throw new Cut()
      await write(() => {}, 10)
      if (this.#row === 'locked') await write(() => {}, 25)
      if (this.#row !== 'ready') {
        await write(() => {
          this.#makers.add(box.id)
          this.#row = 'locked'
        }, 1)
        await write(() => {
          if (!this.#makers.has(box.id)) throw new Cut()
          if (this.#row === 'ready') this.#wrong('made twice')
          this.#row = 'ready'
          this.cas.push(box.id.padStart(64, '0'))
        }, 60)
      }
    } finally {
      this.#makers.delete(box.id)
    }
  }

  async #report(box: Box): Promise<void> {
    const { between, happens } = this.#chance
    await this.time.sleep(happens(0.1) ? between(300, 2_000) : between(0, 60))
    this.#maybeCut(box)
    // PUT /v1/nodes.
    if (this.#lease?.deviceId === box.id && (this.cluster.state === 'initializing' || this.cluster.state === 'stuck')) {
      this.#lease.until = this.time.now + leaseSeconds
      this.cluster.state = 'initializing'
    }
    this.#hear({ deviceId: box.id }, this.cas[0] as string)
    box.joined = this.cluster.state === 'up'
    if (!box.joined) throw new Cut()
  }

  #hear(from: 'datastore' | { deviceId: string }, caHash: string): void {
    const { cluster } = this
    const view: CaHashView = {
      ...cluster,
      datastore: this.#kind,
      bootstrap: null,
      confirmed: false,
      initializer: this.#lease?.deviceId ?? null,
      stuckReason: null,
    }
    const verdict = judgeCaHash(view, { caHash, from })
    if (verdict.kind === 'differs') this.#wrong(verdict.reason)
    if (verdict.kind === 'learned') Object.assign(cluster, { caHash, caHashFrom: verdict.from })
    if ('up' in verdict && verdict.up) {
      cluster.state = 'up'
      this.#lease = null
    }
  }

  // Looks now and then; before the next one may go, the machine that was lost is carried out of the room.
  async #admin(): Promise<void> {
    while (this.cluster.state !== 'up' && this.boxes.some((box) => !box.gone)) {
      await this.time.sleep(this.#chance.between(300, 1_800))
      if (this.cluster.state !== 'stuck') continue
      const lost = this.boxes.find((box) => box.id === this.#lease?.deviceId)
      if (lost) lost.gone = true
      if (lost) this.#makers.delete(lost.id)
      if (this.#kind === 'embedded-etcd') {
        // Its disk was the datastore.
        this.#row = 'virgin'
        this.cas.length = 0
      }
      this.#lease = null
      this.cluster.state = 'virgin'
    }
  }
}
