import { AppError } from '../errors.ts'

/** What decides whether a claim that proved itself is let in. */
export type Candidate = {
  state: string
  /** The proved assurance reaches the device's and the profile's minimum. */
  trusted: boolean
  /** Its live enrollment has joined its cluster, and that was not made anew since. */
  joined: boolean
  reenroll: 'never' | 'approve' | 'always'
  /** An admin let the next claim through. */
  reenrollGranted: boolean
  role: 'server' | 'agent'
  hostname: string | null
  cluster: { state: string; caHash: string | null; apiEndpoint: string | null } | null
  /** The cluster takes one server only, and another device is it. */
  serverTaken: boolean
}

/**
 * The checks of a claim from *device state* to *cluster*, in PROTOCOL.md's order; the first that fails wins.
 * Its signature has verified, so the reasons may be told.
 * @throws AppError
 */
export function admit(candidate: Candidate): void {
  checkState(candidate.state)
  if (!candidate.trusted) throw new AppError('trust_too_low', { detail: 'this device must prove itself more strongly' })
  checkPolicy(candidate)
  checkCluster(candidate)
}

function checkState(state: string): void {
  if (state === 'revoked') throw new AppError('device_revoked', { detail: 'an admin revoked this device' })
  if (state === 'retired') throw new AppError('device_retired', { detail: 'an admin retired this device' })
  if (state === 'pending')
    throw new AppError('pending_approval', { detail: 'an admin must approve this device', retryAfter: 30 })
}

// Counted from *joined*: until then a box that lost power claims again and its unfinished enrollment is replaced.
function checkPolicy({ joined, reenroll, reenrollGranted }: Candidate): void {
  if (!joined || reenroll === 'always') return
  if (reenroll === 'approve' && reenrollGranted) return
  const detail =
    reenroll === 'never'
      ? 'the device has joined and its profile allows no second enrollment'
      : 'the device has joined; an admin must allow another enrollment (verb reenroll)'
  throw new AppError('reenroll_denied', { detail })
}

function checkCluster({ cluster, role, hostname, serverTaken }: Candidate): void {
  const wait = (detail: string, retryAfter = 60) => new AppError('cluster_not_ready', { detail, retryAfter })
  if (!cluster || hostname === null) throw wait('an admin has not given this device a cluster yet')
  if (role === 'server') {
    if (cluster.state === 'compromised')
      throw wait('the cluster is marked compromised; no server is let in until it is rotated', 300)
    if (serverTaken)
      throw new AppError('state_conflict', { detail: 'the cluster is on SQLite and has its one server already' })
    return
  }
  // Two CA hashes: what an agent is given to trust may be the wrong one.
  if (cluster.state === 'stuck') throw wait('the cluster is stuck; an admin has to look at it', 300)
  if (cluster.apiEndpoint === null) throw wait('the cluster has no API endpoint for agents yet')
  if (cluster.caHash === null) throw wait("the cluster's CA hash is not known yet: its first server must come up", 30)
}
