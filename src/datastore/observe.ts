import { bootstrapName } from '../k3s/bootstrap.ts'
import { leasePrefix, type NodeRecord, nodePrefix, readNode, readRenewTime } from '../k3s/node-record.ts'
import { readKine } from './guard.ts'
import { type LookRow, lookQuery, mostRows, mostValueBytes } from './kine-look.ts'
import type { Bootstrap } from './managed.ts'
import type { Observer } from './observer.ts'
import { bootstrapState } from './read-bootstrap.ts'

/** What a process remembers of a cluster from one look to the next: only what spares it reading the same rows again. */
export type Memory = { nodes: Map<string, Remembered>; bootstrap: string | undefined }
type Remembered = { id: string; record: NodeRecord | undefined; lease: string | null; aliveAt: number | null }

export const noMemory = (): Memory => ({ nodes: new Map(), bootstrap: undefined })

/** A Node as the cluster shows it now. Times are Unix seconds. */
export type ObservedNode = { name: string; ready: boolean | null; version: string | null; seenAt?: number }

export type Observation = {
  nodes: ObservedNode[]
  /** False: there are more, which another look will show, or which no look shows */
  complete: boolean
  tooMany: boolean
  /** `value` is there only when the row was not seen before */
  bootstrap: Bootstrap
}

export type Looked = ({ kind: 'seen' } & Observation) | { kind: 'tampered' | 'late'; what: string }

/**
 * Seconds without a sign of life after which a Node counts as unknown, whatever its cluster says: with all servers down nobody is left there to
 * say so. Kubernetes itself takes 50 (node-monitor-grace-period).
 */
const silence = 120

/**
 * Looks at a managed cluster once.
 * @param memory changed by it
 * @param now Unix seconds
 * @throws what Postgres says when it is away, full, or not set up
 */
export async function look(
  observer: Observer,
  clusterId: string,
  serverToken: string,
  memory: Memory,
  now: number,
): Promise<Looked> {
  const known = [...memory.nodes.values()].map(({ id }) => id)
  if (memory.bootstrap !== undefined) known.push(memory.bootstrap)
  const read = await readKine<LookRow>(observer, clusterId, lookQuery(serverToken, known))
  if (read.kind === 'tampered' || read.kind === 'late') return read
  const rows = read.kind === 'rows' ? read.rows : []
  const there = rows.filter(({ deleted }) => deleted === 0)
  const leases = named(there, leasePrefix)
  const nodes = [...named(there, nodePrefix)].map(([name, row]) => ({ name, row, lease: leases.get(name) }))
  const seen = nodes.map((node) => ({ name: node.name, node: remember(memory, node, now) }))
  forget(memory, new Set(nodes.map(({ name }) => name)))
  const shown = seen.filter((one): one is { name: string; node: Remembered } => one.node !== undefined)
  const bootstrap = bootstrapName(serverToken)
  return {
    kind: 'seen',
    nodes: shown.map(({ name, node }) => show(name, node, now)),
    complete: rows.length < mostRows && shown.length === nodes.length,
    tooMany: rows.length >= mostRows,
    bootstrap: bootstrapOf(
      memory,
      rows.find(({ name }) => name === bootstrap),
    ),
  }
}

const named = (rows: readonly LookRow[], prefix: string): Map<string, LookRow> =>
  new Map(rows.filter(({ name }) => name.startsWith(prefix)).map((row) => [row.name.slice(prefix.length), row]))

type Listed = { name: string; row: LookRow; lease: LookRow | undefined }

/** @returns undefined for a Node whose value had no room in this look */
function remember({ nodes }: Memory, { name, row, lease }: Listed, now: number): Remembered | undefined {
  const before = nodes.get(name)
  const same = before?.id === row.id
  if (!same && row.value === null && row.size !== null && row.size <= mostValueBytes) return undefined
  const node = {
    id: row.id,
    record: same ? before.record : row.value === null ? undefined : readNode(row.value),
    lease: lease?.id ?? null,
    aliveAt: signOfLife(before, lease, now),
  }
  nodes.set(name, node)
  return node
}

// Our own clock tells when a Lease was renewed. Only of what was before our first look the kubelet's clock is believed.
function signOfLife(before: Remembered | undefined, lease: LookRow | undefined, now: number): number | null {
  if (!lease) return before?.aliveAt ?? null
  if (before && before.lease === lease.id) return before.aliveAt
  const renewed = lease.value === null ? undefined : readRenewTime(lease.value)
  return Math.min(renewed ?? now, now)
}

function forget({ nodes }: Memory, there: ReadonlySet<string>): void {
  for (const name of nodes.keys()) if (!there.has(name)) nodes.delete(name)
}

function show(name: string, { record, aliveAt }: Remembered, now: number): ObservedNode {
  const silent = aliveAt !== null && now - aliveAt > silence
  const ready = record?.ready ?? null
  return {
    name,
    ready: silent && ready === true ? null : ready,
    version: record?.version ?? null,
    ...(aliveAt === null ? {} : { seenAt: aliveAt }),
  }
}

function bootstrapOf(memory: Memory, row: LookRow | undefined): Bootstrap {
  const state = bootstrapState(row)
  memory.bootstrap = state === 'ready' ? row?.id : undefined
  return { state, value: row?.value ?? undefined }
}
