import { type EnrolledNode, isAlarm, type Owner, ownerOf } from './node-owner.ts'

/** How Nodes came to be known: read from the cluster's datastore, from its API, or told by one of its servers. */
export type NodeSource = 'datastore' | 'api' | 'server'

/** A Node as its cluster shows it. */
export type SeenNode = {
  name: string
  /** Null: unknown, its kubelet does not report */
  ready: boolean | null
  version: string | null
  /** Its kubelet's last sign of life, Unix seconds, where the source knows it */
  seenAt?: number
}

/** Nodes of one cluster, as seen at one time. */
export type Sighting = {
  source: NodeSource
  nodes: readonly SeenNode[]
  /** These are all: one that is missing is gone. */
  complete: boolean
  /** Unix seconds */
  at: number
  /** Told by this device, with its node credential */
  teller?: string
}

/** A Node as the roll keeps it. Times are Unix seconds. */
export type KnownNode = {
  name: string
  /** Null for a stranger */
  deviceId: string | null
  enrollmentId: string | null
  source: NodeSource
  ready: boolean | null
  readySince: number | null
  version: string | null
  firstSeenAt: number
  seenAt: number
  goneAt: number | null
}

/** What a device's timeline is told of its Node. */
export type NodeNews = 'node.joined' | 'node.ready' | 'node.not_ready' | 'node.gone' | 'node.back' | 'node.doubted'

/** A device that its cluster shows. */
export type NodeMove = {
  enrollmentId: string
  deviceId: string
  ready: boolean
  /** The Node is the device's own: what it was given to join with is spent */
  own: boolean
  /** It was not the device's before */
  first: boolean
}

export type SightingChange = {
  /** To be written as they are now */
  rows: KnownNode[]
  moves: NodeMove[]
  news: { deviceId: string; enrollmentId: string; name: NodeNews }[]
  /** Enrollments whose name somebody else may have taken */
  alarms: string[]
}

/** Seconds between two writes that say nothing but that a Node is still seen. */
const restSeconds = 120
/** Seconds after which another source is believed again, though a better one spoke before. */
const staleSeconds = 300
/** Seconds that a state must have lasted before its end is told: a Node that flaps must not fill a timeline. */
const newsSeconds = 60
/** A hostile server can make up any number of Nodes. */
export const mostStrangers = 1_000

/**
 * Compares what a cluster shows with what the roll knows of it.
 * @returns undefined if there is nothing to write
 */
export function compareSighting(
  sighting: Sighting,
  known: readonly KnownNode[],
  enrolled: readonly EnrolledNode[],
): SightingChange | undefined {
  const change: SightingChange = { rows: [], moves: [], news: [], alarms: [] }
  const byName = new Map(known.map((node) => [node.name, node]))
  const byHostname = new Map(enrolled.map((one) => [one.hostname, one]))
  const seen = new Map(sighting.nodes.filter(({ name }) => isNodeName(name)).map((node) => [node.name, node]))
  // Those that are gone count until they are swept: else each report could bring as many anew.
  let strangers = known.filter(({ deviceId }) => deviceId === null).length
  for (const node of seen.values()) {
    const before = byName.get(node.name)
    if (before && isOutranked(sighting, before)) continue
    const one = byHostname.get(node.name)
    const owner = one ? ownerOf(node, before?.goneAt === null ? before : undefined, one, sighting) : 'other'
    const now = asSeen(sighting, node, before, one && { one, owner })
    if (owner === 'doubted' && one) doubt(change, sighting.at, one, now)
    if (before === undefined && now.deviceId === null && owner !== 'doubted' && ++strangers > mostStrangers) continue
    note(change, sighting.at, before, now, one)
  }
  if (sighting.complete) {
    for (const before of known) {
      if (before.goneAt === null && !seen.has(before.name) && !isOutranked(sighting, before))
        note(change, sighting.at, before, asGone(sighting, before))
    }
  }
  const { rows, moves, alarms } = change
  return rows.length + moves.length + alarms.length === 0 ? undefined : change
}

/** What Kubernetes takes for a Node's name (RFC 1123 subdomain). A hostile datastore may hold any other. */
export const isNodeName = (name: string): boolean =>
  name.length <= 253 && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/.test(name)

const isVersion = (version: string | null): version is string =>
  version !== null && /^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}$/.test(version)

// What servers tell is up to a minute old, and they may lie: what the roll reads itself outranks it while it is fresh.
function isOutranked({ source, at }: Sighting, before: KnownNode): boolean {
  return source === 'server' && before.source !== 'server' && at - before.seenAt < staleSeconds
}

function asSeen(
  { source, at }: Sighting,
  node: SeenNode,
  before: KnownNode | undefined,
  claimed: { one: EnrolledNode; owner: Owner } | undefined,
): KnownNode {
  const stays = before?.goneAt === null ? before : undefined
  // What is doubted is kept as a stranger's, so that it stays in doubt.
  const former = claimed?.owner === 'doubted' ? stays : before
  const owner = claimed?.owner === 'own' ? claimed.one : former
  return {
    name: node.name,
    deviceId: owner?.deviceId ?? null,
    enrollmentId: owner?.enrollmentId ?? null,
    source,
    ready: node.ready,
    readySince: stays?.ready === node.ready ? stays.readySince : at,
    version: isVersion(node.version) ? node.version : null,
    firstSeenAt: stays?.firstSeenAt ?? at,
    seenAt: at,
    goneAt: null,
  }
}

function asGone({ source, at }: Sighting, before: KnownNode): KnownNode {
  return { ...before, source, ready: null, readySince: at, goneAt: at }
}

function note(
  change: SightingChange,
  at: number,
  before: KnownNode | undefined,
  now: KnownNode,
  one?: EnrolledNode,
): void {
  const mine = one?.enrollmentId === now.enrollmentId ? one : undefined
  const firstReady = mine !== undefined && now.ready === true && !mine.ready
  const first = mine !== undefined && (!mine.observed || before?.enrollmentId !== mine.enrollmentId)
  if (mine && (first || firstReady)) change.moves.push(moveOf(mine, now, { own: true, first }))
  if (!before || differs(before, now) || at - before.seenAt >= restSeconds) change.rows.push(now)
  const { deviceId, enrollmentId } = now
  if (deviceId === null || enrollmentId === null) return
  for (const name of newsOf(before, now, firstReady)) change.news.push({ deviceId, enrollmentId, name })
}

// What a cluster shows decides the state (PROTOCOL.md, "Report"), but what the device was given to join with stays good: it may be in need of it.
function doubt(change: SightingChange, at: number, one: EnrolledNode, now: KnownNode): void {
  const { deviceId, enrollmentId } = one
  if (!one.observed) change.news.push({ deviceId, enrollmentId, name: 'node.doubted' })
  if (!one.observed || (now.ready === true && !one.ready))
    change.moves.push(moveOf(one, now, { own: false, first: false }))
  if (isAlarm(one, now.firstSeenAt, at)) change.alarms.push(enrollmentId)
}

function moveOf(one: EnrolledNode, now: KnownNode, how: Pick<NodeMove, 'own' | 'first'>): NodeMove {
  return { enrollmentId: one.enrollmentId, deviceId: one.deviceId, ready: now.ready === true, ...how }
}

function differs(a: KnownNode, b: KnownNode): boolean {
  return (
    a.ready !== b.ready ||
    a.version !== b.version ||
    a.enrollmentId !== b.enrollmentId ||
    a.source !== b.source ||
    (a.goneAt === null) !== (b.goneAt === null)
  )
}

function newsOf(before: KnownNode | undefined, now: KnownNode, firstReady: boolean): NodeNews[] {
  const ready: NodeNews[] = now.ready === true ? ['node.ready'] : []
  if (before?.enrollmentId !== now.enrollmentId) return ['node.joined', ...ready]
  if (firstReady) return ready
  if ((now.readySince ?? 0) - (before.readySince ?? 0) < newsSeconds) return []
  if (now.goneAt !== null) return ['node.gone']
  if (before.goneAt !== null) return ['node.back', ...ready]
  if ((now.ready === true) === (before.ready === true)) return []
  return now.ready === true ? ready : ['node.not_ready']
}
