import { type Assurance, assurances, type Role } from '../documents/profile.ts'
import type { FieldError } from '../errors.ts'

/** Where a device is to go, and how strongly it must prove itself. */
export type Placement = {
  role: Role
  /** The device's own minimum; the profile's is enforced beside it. */
  minAssurance: Assurance | null
  profileMinimum: Assurance
  cluster: { apiEndpoint: string | null; allowWeakServers: boolean; takesServers: boolean } | null
}

/** What is wrong with a placement, by the member that an admin would change. PROTOCOL.md, "Admin API" and "Redeem". */
export function placementErrors(p: Placement): FieldError[] {
  const errors: FieldError[] = []
  if (p.role === 'agent' && p.cluster && p.cluster.apiEndpoint === null) {
    errors.push({ path: 'cluster', reason: 'has no api_endpoint, which an agent needs' })
  }
  if (p.role === 'server' && isWeak(p) && !p.cluster?.allowWeakServers) {
    const reason = 'a server must prove its key: below `key` only where its cluster has allow_weak_servers'
    errors.push({ path: 'min_assurance', reason })
  }
  if (p.role === 'server' && p.cluster?.takesServers === false) {
    errors.push({ path: 'role', reason: 'its cluster has access: Rollcall did not make it, and adds agents alone' })
  }
  return errors
}

// A profile knows no cluster, so its own weakness shows once a device has one.
function isWeak({ minAssurance, profileMinimum, cluster }: Placement): boolean {
  if (minAssurance !== null) return rank(minAssurance) < rank('key')
  return cluster !== null && rank(profileMinimum) < rank('key')
}

type Minimum = Pick<Placement, 'minAssurance' | 'profileMinimum'>

/** Whether a change lets a device prove less than before: what is asked of it, or what is written for it alone. */
export function lowers(before: Minimum, after: Minimum): boolean {
  return effective(after) < effective(before) || written(after) < written(before)
}

const rank = (assurance: Assurance) => assurances.indexOf(assurance)
const effective = (m: Minimum) => Math.max(rank(m.profileMinimum), m.minAssurance === null ? 0 : rank(m.minAssurance))
const written = (m: Minimum) => rank(m.minAssurance ?? m.profileMinimum)
