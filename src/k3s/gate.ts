import type { Datastore } from './cluster.ts'

/** Seconds that the first server keeps its turn without renewing it; K3s' first start takes about 10 s, 30 s after a crash. */
export const leaseSeconds = 900

/** What a cluster's bootstrap row was just read to be (reference: K3s pkg/cluster/storage.go). */
export type BootstrapState = 'virgin' | 'locked' | 'ready'

/** The turn to go first. */
export type Lease = {
  deviceId: string
  /** Serial number, for admins */
  serial: string
  /** Unix seconds */
  until: number
  /** Its holder was given the server token: K3s may be running there. */
  used: boolean
}

/** A cluster at the moment at which one of its servers asks to be let in. */
export type GateView = {
  state: 'virgin' | 'initializing' | 'up' | 'stuck' | 'compromised'
  datastore: Datastore['kind']
  caHashKnown: boolean
  lease: Lease | null
  /** Managed: other enrollments of the cluster whose login may still write to its datastore */
  open: readonly string[]
  /** Another server of the cluster was seen in it: it has begun, whatever else is known. */
  begun: boolean
  /** Embedded etcd: whether a former self of the asker is a member of the cluster that somebody can remove */
  former: 'none' | 'member' | 'leaving'
}

/** What this request has done so far. A fence makes what was read before it worthless. */
export type Progress = { bootstrap: BootstrapState | undefined; leased: boolean }

/** What to do next: the cluster is looked at again after each step but the last. */
export type Decision =
  /** Start K3s: as the one that makes the cluster, or into it. */
  | { do: 'go'; start: 'init' | 'join' }
  | { do: 'wait'; why: string; seconds: number }
  /** Take or renew the lease, if it is still as seen. */
  | { do: 'lease' }
  /** Read the bootstrap row. */
  | { do: 'read' }
  /** The bootstrap row is ready: take the CA hash from it. */
  | { do: 'learn' }
  /** End what these enrollments may write, and read again. */
  | { do: 'fence'; enrollments: readonly string[] }
  /** Have the asker's former self removed from the cluster. */
  | { do: 'remove' }
  /** Stop until an admin looked, if the lease is still as seen. */
  | { do: 'stick'; reason: string }

const words = {
  first: "another server goes first; this one waits until the cluster's CA hash is known",
  compromised: 'the cluster is marked compromised; no server is let in until it is rotated',
  stuck: 'the cluster is stuck; an admin has to look at it',
  begun: 'the cluster has begun and its CA hash is not known; this server waits until one of its servers says it',
  former: "this machine was a member of the cluster before; it waits until the cluster's other servers removed it",
} as const

/** Seconds until a waiting server asks again. */
const turnPoll = 15
const longPoll = 300

/**
 * Whether a server may start K3s now (DESIGN.md, "K3s rules"). Two first starts on an empty datastore are fatal for one of them, so one goes
 * first, and its turn passes on only when it can write no more.
 * @param asker the device that redeems its ticket
 * @param now Unix seconds
 */
export function gate(view: GateView, asker: string, now: number, progress: Progress): Decision {
  if (view.state === 'compromised') return { do: 'wait', why: words.compromised, seconds: longPoll }
  if (view.state === 'up') return join(view)
  if (view.state === 'stuck') return atStop(view, asker, progress)
  if (view.datastore === 'managed') return onManaged(view, asker, now, progress)
  if (view.lease === null) return first(view)
  if (view.lease.deviceId === asker) return keep(progress)
  if (view.lease.until > now) return wait(words.first)
  // The one server of a SQLite cluster is its datastore too: nobody else can be writing.
  if (view.datastore === 'sqlite' || !view.lease.used) return { do: 'lease' }
  return { do: 'stick', reason: lost(view.lease, view.datastore) }
}

const wait = (why: string): Decision => ({ do: 'wait', why, seconds: turnPoll })

function join(view: GateView): Decision {
  if (view.former === 'member') return { do: 'remove' }
  if (view.former === 'leaving') return wait(words.former)
  return { do: 'go', start: 'join' }
}

// Whoever held the turn when it ran out may go on: nobody else went. What else stops a cluster is for an admin.
function atStop({ datastore, lease, caHashKnown }: GateView, asker: string, progress: Progress): Decision {
  const isHolder = lease?.deviceId === asker && !caHashKnown && datastore !== 'managed'
  return isHolder ? keep(progress) : { do: 'wait', why: words.stuck, seconds: longPoll }
}

function onManaged(view: GateView, asker: string, now: number, progress: Progress): Decision {
  if (progress.bootstrap === undefined) return { do: 'read' }
  if (progress.bootstrap === 'ready') return { do: 'learn' }
  if (view.lease === null) return first(view)
  if (view.lease.deviceId !== asker) return view.lease.until > now ? wait(words.first) : { do: 'lease' }
  if (!progress.leased) return { do: 'lease' }
  // The turn is this server's, yet another's login is open: the one whose turn ran out, or who was let in before the cluster was reset.
  return view.open.length > 0 ? { do: 'fence', enrollments: view.open } : { do: 'go', start: 'init' }
}

const first = (view: GateView): Decision => (view.begun ? wait(words.begun) : { do: 'lease' })

const keep = ({ leased }: Progress): Decision => (leased ? { do: 'go', start: 'init' } : { do: 'lease' })

function lost({ serial, until }: Lease, datastore: string): string {
  const when = new Date(until * 1_000).toISOString()
  return `the first server, ${serial}, was not heard of and lost its turn at ${when}; on ${datastore} nothing can keep it from writing if it still runs: make sure that it does not, then let the next one go (verb release-initializer)`
}
