import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Memory, noMemory } from '../datastore/cluster-memory.ts'
import { isFollowed, type Looked, lookAtAll, type Observation } from '../datastore/observe.ts'
import type { Observer } from '../datastore/observer.ts'
import { type BootstrapName, bootstrapName } from '../k3s/bootstrap.ts'
import { touchClusters } from '../store/nodes.ts'
import { type DueCluster, lookAgainAt, takeDueClusters } from '../store/observations.ts'
import { place } from './cluster-view.ts'
import type { Context } from './context.ts'
import { learnBootstrap } from './learn-bootstrap.ts'
import { noteTroubles } from './note-trouble.ts'
import { recordNodes } from './record-nodes.ts'

/**
 * Seconds. What the roll shows of a cluster is 30 s old at most: the quiet period, the second from pass to pass (observer.ts), and its own pass, which takes a tenth
 * of a second for 1,000 clusters and has one.
 */
const periods = { busy: 5, quiet: 28 } as const
/** Seconds until a table that was tampered with is looked at again, and one that somebody holds: at first, and at most. */
const rest = { tampered: 300, late: 20, most: 300 } as const
/** Seconds after which Nodes are recorded again though they are as before: whose they are may have changed on the roll. */
const retell = 100
/** Milliseconds of a pass after which two clusters are looked at at a time. */
const slow = 250
/** Clusters that one pass takes. */
const batch = 50
/** Clusters of which news are asked for together: a hostile one keeps no more than these waiting for it. */
const together = 8
/** Seconds that a cluster is remembered without a look: another server may look at it now, or it is gone. */
const memorable = 600

/** What a process knows of a cluster that it looks at. */
export type Known = {
  memory: Memory
  /** Where K3s keeps its CA keys, and the sealed token that says so: to open that for each look cost a sixteenth of what node does for it */
  bootstrap: { sealed: Uint8Array; name: BootstrapName } | undefined
  /** A digest of what was last recorded of its Nodes, and when that was */
  told: string
  toldAt: number
  lookedAt: number
  /** Looks that came to nothing, one after the other */
  late: number
  /** What is wrong with its bootstrap row */
  bootstrapTrouble: string | null
}

export type Turn = { cluster: DueCluster; known: Known; looked: Looked }
type Seen = { kind: 'seen' } & Observation

/**
 * Looks at managed clusters as their time comes, and lets the roll know what they show.
 * @returns a pass, which says whether more clusters wait; it throws what Postgres says when it is away
 */
export function clusterObserver(context: Context, observer: Observer): () => Promise<boolean> {
  const all = new Map<string, Known>()
  const knownOf = (id: string, now: number): Known => {
    const known = all.get(id) ?? strange()
    all.set(id, known)
    known.lookedAt = now
    return known
  }
  return async () => {
    const now = context.now()
    for (const [id, { lookedAt }] of all) if (now - lookedAt > memorable) all.delete(id)
    const due = await takeDueClusters(context.sql, now, periods, batch)
    try {
      const turns: Turn[] = []
      const known = due.map((cluster) => ({ cluster, known: knownOf(cluster.id, now) }))
      await inLanes(groupsOf(known, now), async (group) => {
        turns.push(...(await lookAt(context, observer, group)))
      })
      await record(context, turns, now)
    } catch (error) {
      // What was read may not have been kept: all of it is read again, and soon.
      for (const { id } of due) all.delete(id)
      throw error
    }
    return due.length === batch
  }
}

const strange = (): Known => ({
  memory: noMemory(),
  bootstrap: undefined,
  told: '',
  toldAt: 0,
  lookedAt: 0,
  late: 0,
  bootstrapTrouble: null,
})

/**
 * Does a thing with each, one after the other, and with a second one at a time where that takes long: as a rule one session is enough, and
 * Postgres keeps what it knows of each table for each session that saw it.
 * @throws what the first that fails throws, once nothing runs any more
 */
async function inLanes<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const waiting = all.values()
  const over = new AbortController()
  const lane = async () => {
    for (const one of waiting) if (!over.signal.aborted) await work(one)
  }
  const first = lane().finally(() => over.abort())
  const second = sleep(slow, undefined, { signal: over.signal }).then(
    () => lane().finally(() => over.abort()),
    () => {},
  )
  for (const lane of await Promise.allSettled([first, second])) if (lane.status === 'rejected') throw lane.reason
}

type Due = Omit<Turn, 'looked'>

/** What is listed, or gave trouble, is looked at by itself. */
function groupsOf(due: readonly Due[], now: number): Due[][] {
  const followed = due.filter(({ known }) => isFollowed(known.memory, now))
  const groups = due.filter((one) => !followed.includes(one)).map((one) => [one])
  for (let i = 0; i < followed.length; i += together) groups.push(followed.slice(i, i + together))
  return groups
}

async function lookAt(context: Context, observer: Observer, group: readonly Due[]): Promise<Turn[]> {
  const subjects = group.map((due) => {
    const bootstrap = bootstrapOf(context, due)
    return { clusterId: due.cluster.id, bootstrap, memory: due.known.memory }
  })
  const looked = await lookAtAll(observer, subjects, context.now())
  return group.map((due, i) => ({ ...due, looked: looked[i] as Looked }))
}

function bootstrapOf({ vault }: Context, { cluster: { id, server_token_sealed: sealed }, known }: Due): BootstrapName {
  const before = known.bootstrap
  if (before && Buffer.compare(before.sealed, sealed) === 0) return before.name
  const name = bootstrapName(vault.open(place.serverToken(id), sealed).toString('utf8'))
  // Under another token K3s keeps another row, which may be older than the news.
  if (before && before.name !== name) known.memory = noMemory()
  // A copy: what a driver hands out is a piece of a larger buffer.
  known.bootstrap = { sealed: Uint8Array.from(sealed), name }
  return name
}

async function record(context: Context, turns: readonly Turn[], now: number): Promise<void> {
  for (const turn of turns) if (turn.looked.kind === 'seen') await learnBootstrap(context, turn, turn.looked.bootstrap)
  const seen = turns.filter((turn): turn is Turn & { looked: Seen } => turn.looked.kind === 'seen')
  await tell(context, seen, now)
  if (seen.length > 0)
    await touchClusters(
      context.sql,
      seen.map(({ cluster }) => cluster.id),
      now,
    )
  for (const { known, looked } of turns) known.late = looked.kind === 'late' ? known.late + 1 : 0
  await noteTroubles(context, turns, now)
  for (const turn of turns) {
    const seconds = pause(turn)
    if (seconds !== undefined) await lookAgainAt(context.sql, turn.cluster.id, now + seconds)
  }
}

/** Records what is new, all clusters in few statements. */
async function tell(context: Context, seen: readonly (Turn & { looked: Seen })[], now: number): Promise<void> {
  const news = seen.flatMap(({ cluster, known, looked }) => {
    const told = digestOf(looked)
    if (!cluster.busy && told === known.told && now - known.toldAt < retell) return []
    known.told = told
    known.toldAt = now
    const { nodes, complete } = looked
    return [{ clusterId: cluster.id, source: 'datastore' as const, nodes, complete }]
  })
  await recordNodes(context, ...news)
}

const digestOf = ({ complete, nodes }: Observation): string =>
  createHash('sha256')
    .update(JSON.stringify([complete, nodes.map(({ name, ready, version }) => [name, ready, version])]))
    .digest('base64')

/** Seconds until the next look where that is not the usual time. */
function pause({ looked, known }: Turn): number | undefined {
  if (looked.kind === 'tampered') return rest.tampered
  if (looked.kind === 'late') return Math.min(rest.late * 2 ** (known.late - 1), rest.most)
  if (looked.kind === 'seen' && looked.tooMany) return rest.most
  if (looked.kind === 'seen' && !looked.complete) return 1
  return undefined
}
