import { isDeepStrictEqual } from 'node:util'
import type { Role } from '../documents/profile.ts'
import { type ImportInput, normaliseMac } from './device-input.ts'
import { lowers, type Placement, placementErrors } from './placement.ts'
import { type DeviceState, isTombstone } from './state.ts'

/** A device's own columns, as the roll has them. */
export type Columns = {
  id: string
  serial: string
  profile_id: string
  cluster_id: string | null
  role: string | null
  hostname: string | null
  hostname_given: boolean
  uuid: string | null
  note: string
  labels: Record<string, string>
  vars: Record<string, unknown>
  macs: string[]
  min_assurance: string | null
}

/** What the roll knows of a line's serial and key. */
export type Known = {
  device: (Columns & { state: string }) | null
  thumbprint: string | null
  has_jwk: boolean
  key_owner: string | null
  enrolled: boolean
  live: boolean
}

export type PlanProfile = { id: string; role: Role; minAssurance: NonNullable<Placement['minAssurance']> }
export type PlanCluster = { id: string } & NonNullable<Placement['cluster']>

/** The profiles and clusters that lines and their devices name. */
export type Places = {
  profile: (by: { name?: string | undefined; id?: string | null }) => PlanProfile | undefined
  cluster: (by: { name?: string | undefined; id?: string | null }) => PlanCluster | undefined
}

export type Pin = { thumbprint: string; jwk: Record<string, string> | null }

type Refused = { kind: 'refused'; path?: string; reason: string }

/**
 * What a line does to a device on the roll. `hostname` in `next` is the wish: null = to be made from the serial, if it has a cluster.
 * `new`: the roll knows neither its serial nor its key any more.
 */
export type Plan =
  | Refused
  | { kind: 'unchanged' | 'new' }
  | { kind: 'update'; next: Columns; rename: boolean; pin: Pin | null }

export type PlanInput = { input: ImportInput; pin: Pin | null; known: Known; places: Places; mayLower: boolean }

/** What a line of an import would do whose serial or key the roll knows: nothing of it is done here, and hostnames are still to be found. */
export function planLine(line: PlanInput): Plan {
  const { pin, known } = line
  const before = known.device
  if (before && isTombstone(before.state as DeviceState)) {
    return refused(`is on the roll as ${before.state}: reinstate it first`, 'serial')
  }
  if (pin && known.key_owner !== null && known.key_owner !== before?.id) {
    return refused('the key is pinned for another device', 'identity')
  }
  return before ? planUpdate(line, before) : { kind: 'new' }
}

const refused = (reason: string, path?: string): Refused => ({ kind: 'refused', reason, ...(path ? { path } : {}) })

/** What of a line decides whether a new device may come of it. */
export type Place = Pick<ImportInput, 'profile' | 'cluster' | 'role' | 'min_assurance'>

/** Whether new devices may go to a place: all lines that name the same one share the answer. */
export function planNew(place: Place, places: Places, mayLower: boolean): Refused | { kind: 'create' } {
  if (place.profile === undefined) return refused('a new device needs one', 'profile')
  const profile = places.profile({ name: place.profile })
  const cluster = place.cluster === undefined ? null : places.cluster({ name: place.cluster })
  if (!profile) return refused('there is no such profile', 'profile')
  if (cluster === undefined) return refused('there is no such cluster', 'cluster')
  const columns = { role: place.role ?? null, min_assurance: place.min_assurance ?? null }
  const wrong = misplaced(columns, profile, cluster)
  if (wrong) return wrong
  const to = placement(columns, profile, cluster)
  if (!mayLower && lowers({ ...to, minAssurance: null }, to)) {
    return refused('below the profile needs scope admin', 'min_assurance')
  }
  return { kind: 'create' }
}

function planUpdate({ input, pin, known, places, mayLower }: PlanInput, before: Columns & { state: string }): Plan {
  const was = {
    profile: places.profile({ id: before.profile_id }),
    cluster: places.cluster({ id: before.cluster_id }) ?? null,
  }
  const profile = input.profile === undefined ? was.profile : places.profile({ name: input.profile })
  const cluster = input.cluster === undefined ? was.cluster : places.cluster({ name: input.cluster })
  if (!profile || !was.profile) return refused('there is no such profile', 'profile')
  if (cluster === undefined) return refused('there is no such cluster', 'cluster')

  const { state: _, ...old } = before
  const next = { ...old, ...given(input, old), profile_id: profile.id, cluster_id: cluster?.id ?? null }
  const moves = next.cluster_id !== old.cluster_id
  const from = placement(old, was.profile, was.cluster)
  const to = placement(next, profile, cluster)
  const stays =
    !moves &&
    from.role === to.role &&
    from.minAssurance === to.minAssurance &&
    from.profileMinimum === to.profileMinimum
  const wrong = stays ? undefined : misplaced(next, profile, cluster)
  if (wrong) return wrong
  if (!mayLower && lowers(from, to)) return refused('lowering it needs scope admin', 'min_assurance')
  if (known.live && (moves || from.role !== to.role)) {
    return refused('is enrolled: retire and reinstate it before it goes to another cluster or role', 'cluster')
  }
  if (known.enrolled && next.hostname !== old.hostname)
    return refused('is fixed since the first enrollment', 'hostname')
  const rekey = pin && (pin.thumbprint !== known.thumbprint || (pin.jwk !== null) !== known.has_jwk) ? pin : null
  if (rekey && known.live && rekey.thumbprint !== known.thumbprint) {
    return refused('is enrolled with another key: replace it with PATCH', 'identity')
  }
  const rename = next.hostname !== old.hostname || moves
  if (moves && !known.enrolled && !next.hostname_given) next.hostname = null
  if (!rekey && isSame(next, old)) return { kind: 'unchanged' }
  return { kind: 'update', next, rename, pin: rekey }
}

// What the line does not give is the very same value: only the few members that it gives are looked into.
function isSame(next: Columns, old: Columns): boolean {
  return (Object.keys(next) as (keyof Columns)[]).every(
    (name) => next[name] === old[name] || isDeepStrictEqual(next[name], old[name]),
  )
}

/** What a line says over what was. Labels and variables are merged: a file with one column of them says nothing of the others. */
function given(input: ImportInput, old: Columns): Partial<Columns> {
  const { role, hostname, uuid, note, labels, vars, macs, min_assurance } = input
  return {
    ...(role === undefined ? {} : { role }),
    ...(hostname === undefined ? {} : { hostname, hostname_given: true }),
    ...(uuid === undefined ? {} : { uuid: uuid.toLowerCase() }),
    ...(note === undefined ? {} : { note }),
    ...(labels === undefined ? {} : { labels: { ...old.labels, ...labels } }),
    ...(vars === undefined ? {} : { vars: { ...old.vars, ...vars } }),
    ...(macs === undefined ? {} : { macs: macs.map(normaliseMac) }),
    ...(min_assurance === undefined ? {} : { min_assurance }),
  }
}

type Own = Pick<Columns, 'role' | 'min_assurance'>

function placement(columns: Own, profile: PlanProfile, cluster: PlanCluster | null): Placement {
  return {
    role: (columns.role ?? profile.role) as Role,
    minAssurance: columns.min_assurance as Placement['minAssurance'],
    profileMinimum: profile.minAssurance,
    cluster,
  }
}

function misplaced(columns: Own, profile: PlanProfile, cluster: PlanCluster | null): Refused | undefined {
  const [error] = placementErrors(placement(columns, profile, cluster))
  return error && refused(error.reason, error.path)
}
