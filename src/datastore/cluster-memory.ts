import { leasePrefix, nodePrefix, readNode, readRenewTime } from '../k3s/node-record.ts'
import { type LookRow, mostValueBytes, type Since } from './kine-look.ts'
import type { Bootstrap } from './managed.ts'
import { bootstrapState } from './read-bootstrap.ts'

/** What a process remembers of a cluster from one look to the next: only what spares it reading the same rows again. */
export type Memory = {
  nodes: Map<string, Remembered>
  bootstrap: { state: Bootstrap['state']; id: string | undefined }
  /** The highest id at each of the last looks, the oldest first; none after a look that did not show all */
  marks: Mark[]
  /** When its rows are listed again, whatever the news say; Unix seconds */
  listAt: number
}
type Mark = { id: string; at: number }
type Remembered = {
  id: string
  ready: boolean | null
  version: string | null
  lease: string | null
  aliveAt: number | null
}

export const noMemory = (): Memory => ({
  nodes: new Map(),
  bootstrap: { state: 'virgin', id: undefined },
  marks: [],
  listAt: 0,
})

/** A Node as the cluster shows it now. Times are Unix seconds. */
export type ObservedNode = { name: string; ready: boolean | null; version: string | null; seenAt?: number }

/**
 * Seconds without a sign of life after which a Node counts as unknown, whatever its cluster says: with all servers down nobody is left there to
 * say so. Kubernetes itself takes 50 (node-monitor-grace-period).
 */
const silence = 120

/**
 * Seconds that a statement of kine's may take from the moment when it is given an id until it is committed: ids are handed out before, so news
 * begin so far behind the last look. It takes milliseconds; whoever takes longer is found when rows are listed again.
 */
const overlap = 20

/** Seconds between two lists, at least and at most: chance spreads them. */
const list = { least: 240, most: 360 } as const

/** Where news begin. @returns undefined if rows are to be listed */
export function since({ marks, listAt }: Memory, now: number): Since | undefined {
  const last = marks.at(-1)
  if (!last || now >= listAt || now < last.at) return undefined
  const from = marks.findLast(({ at }) => at <= last.at - overlap)
  return from && { from: from.id, anchor: last.id }
}

/** Ids of rows whose values were read. */
export function knownIds({ nodes, bootstrap }: Memory): string[] {
  const ids = [...nodes.values()].map(({ id }) => id)
  return bootstrap.id === undefined ? ids : [...ids, bootstrap.id]
}

/**
 * Takes in the newest row of each name.
 * @returns whether all values had room in this look
 */
export function takeList(memory: Memory, rows: readonly LookRow[], bootstrap: string, now: number): boolean {
  const there = rows.filter(({ deleted }) => deleted === 0)
  const leases = named(there, leasePrefix)
  const nodes = named(there, nodePrefix)
  for (const name of memory.nodes.keys()) if (!nodes.has(name)) memory.nodes.delete(name)
  let whole = true
  for (const [name, row] of nodes) whole = remember(memory, name, row, leases.get(name), now) && whole
  rememberBootstrap(
    memory,
    rows.find(({ name }) => name === bootstrap),
  )
  memory.listAt = now + list.least + Math.random() * (list.most - list.least)
  return whole
}

/** The same for what changed since the last look; `rows` in the order of their ids. */
export function takeNews(memory: Memory, rows: readonly LookRow[], bootstrap: string, now: number): boolean {
  const newest = new Map(rows.map((row) => [row.name, row]))
  let whole = true
  for (const [name, row] of named(newest.values(), nodePrefix)) {
    if (row.deleted !== 0) memory.nodes.delete(name)
    else whole = remember(memory, name, row, undefined, now) && whole
  }
  for (const [name, lease] of named(newest.values(), leasePrefix)) {
    const node = memory.nodes.get(name)
    if (node && lease.deleted === 0) Object.assign(node, signOfLife(node, lease, now))
  }
  const row = newest.get(bootstrap)
  if (row) rememberBootstrap(memory, row)
  return whole
}

/** Notes up to which id rows were seen. @param whole false: the next look lists them */
export function mark(memory: Memory, rows: readonly LookRow[], whole: boolean, now: number): void {
  const highest = rows.reduce<bigint | undefined>(
    (most, { id }) => (most === undefined || BigInt(id) > most ? BigInt(id) : most),
    undefined,
  )
  if (!whole || highest === undefined) {
    memory.marks = []
    return
  }
  const enough = memory.marks.findLastIndex(({ at }) => at <= now - overlap)
  memory.marks = [...memory.marks.slice(Math.max(enough, 0)), { id: `${highest}`, at: now }]
}

/** What is remembered, as of now. */
export function shown({ nodes }: Memory, now: number): ObservedNode[] {
  return [...nodes].map(([name, node]) => show(name, node, now)).sort((a, b) => (a.name < b.name ? -1 : 1))
}

function named(rows: Iterable<LookRow>, prefix: string): Map<string, LookRow> {
  const found = new Map<string, LookRow>()
  for (const row of rows) {
    if (row.name.startsWith(prefix) && row.name !== prefix) found.set(row.name.slice(prefix.length), row)
  }
  return found
}

/** @returns false for a Node whose value had no room in this look */
function remember({ nodes }: Memory, name: string, row: LookRow, lease: LookRow | undefined, now: number): boolean {
  const before = nodes.get(name)
  if (before?.id === row.id) {
    Object.assign(before, signOfLife(before, lease, now))
    return true
  }
  if (row.value === null && row.size !== null && row.size <= mostValueBytes) return false
  const record = row.value === null ? undefined : readNode(bytesOf(row.value))
  const { ready = null, version = null } = record ?? {}
  const life = signOfLife(before, lease, now)
  nodes.set(before ? name : kept(name), { id: row.id, ready, version, lease: life.lease, aliveAt: life.aliveAt })
  return true
}

/** One place for all values, one after the other: thousands of buffers of their own stay for long after the first looks. */
const place = Buffer.allocUnsafeSlow(mostValueBytes)
const bytesOf = (base64: string): Uint8Array => place.subarray(0, place.write(base64, 'base64'))

/** A part of a text keeps the whole of it in memory. */
const kept = (part: string): string => Buffer.from(part).toString()

// Our own clock tells when a Lease was renewed. Only of what was before our first look the kubelet's clock is believed.
function signOfLife(
  before: Remembered | undefined,
  lease: LookRow | undefined,
  now: number,
): Pick<Remembered, 'lease' | 'aliveAt'> {
  if (!lease) return { lease: before?.lease ?? null, aliveAt: before?.aliveAt ?? null }
  if (before && before.lease === lease.id) return { lease: lease.id, aliveAt: before.aliveAt }
  const renewed = lease.value === null ? undefined : readRenewTime(bytesOf(lease.value))
  return { lease: lease.id, aliveAt: Math.min(renewed ?? now, now) }
}

function rememberBootstrap(memory: Memory, row: LookRow | undefined): void {
  const state = bootstrapState(row)
  memory.bootstrap = { state, id: state === 'ready' ? row?.id : undefined }
}

function show(name: string, { ready, version, aliveAt }: Remembered, now: number): ObservedNode {
  const silent = aliveAt !== null && now - aliveAt > silence
  return {
    name,
    ready: silent && ready === true ? null : ready,
    version,
    ...(aliveAt === null ? {} : { seenAt: aliveAt }),
  }
}
