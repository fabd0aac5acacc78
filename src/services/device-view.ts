import type { Assurance, Role } from '../documents/profile.ts'
import { deadlineOf, type Progress, stuckOf } from '../roll/deadline.ts'
import { deriveHostname } from '../roll/hostname.ts'
import { type DeviceState, isTombstone } from '../roll/state.ts'
import type { Drizzle } from '../store/database.ts'
import type { DeviceDetail } from '../store/devices.ts'
import { type LastEnrollment, lastEnrollments } from '../store/last-enrollment.ts'
import { listUnfinished, type Unfinished } from '../store/memberships.ts'
import { listNodesOf, type NodeOfRow } from '../store/node-view.ts'
import { type ProfileTraits, placementProfiles } from '../store/placements.ts'
import { seconds, secondsOrNull } from '../store/time.ts'
import { shownSight } from './node-view.ts'

/** A device as the admin API shows it, and what its ETag is made of. Times are Unix seconds; never a secret. */
export type ShownDevice = { id: string; version: number; body: DeviceBody }
export type DeviceBody = ReturnType<typeof toBody> & { unfinished: string[]; node: ReturnType<typeof nodeOf> }

/** Shows devices: their deadlines and what they are stuck at are derived now. */
export async function showDevices(db: Drizzle, details: readonly DeviceDetail[], now: number): Promise<ShownDevice[]> {
  const ids = details.map(({ device }) => device.id)
  const last = await lastEnrollments(db, ids)
  const nodes = new Map((await listNodesOf(db, ids)).map((node) => [node.deviceId, node]))
  const traits = await placementProfiles(db, { ids: [...new Set(details.map(({ device }) => device.profileId))] })
  const buried = details.filter(({ device }) => isTombstone(device.state as DeviceState)).map(({ device }) => device.id)
  const unfinished = await listUnfinished(db, buried)
  const byId = new Map(traits.map((profile) => [profile.id, profile]))
  return details.map((detail) => {
    const { id, version, profileId } = detail.device
    const profile = byId.get(profileId) as ProfileTraits
    const left = unfinished.filter(({ deviceId }) => deviceId === id).map(({ what }) => leftOver[what])
    const body = { ...toBody(detail, profile, last.get(id), now), unfinished: left, node: nodeOf(nodes.get(id)) }
    return { id, version, body }
  })
}

const leftOver: Record<Unfinished['what'], string> = {
  login: 'its datastore login is not ended yet; Rollcall goes on trying',
  'token-delete': 'its join token waits for a server of its cluster to delete it',
  'node-delete': 'its Node waits for a server of its cluster to delete it',
  'node-ban': 'its Node’s name waits for a server of its cluster to ban it',
}

function toBody(detail: DeviceDetail, profile: ProfileTraits, last: LastEnrollment | undefined, now: number) {
  const { device } = detail
  const live = last?.endedAt === null ? last : undefined
  const progress = progressOf(detail, live)
  const stuck = stuckOf(progress, now)
  return {
    id: device.id,
    serial: device.serial,
    state: progress.state,
    state_since: progress.stateSince,
    reported: isReported(progress.state, live),
    deadline: deadlineOf(progress),
    stuck_reason: stuck?.reason ?? null,
    stuck_since: stuck?.since ?? null,
    stuck_step: stuck?.step ?? null,
    failure: device.failure,
    assurance: device.assurance as Assurance | null,
    profile: profile.name,
    cluster: detail.cluster,
    role: (device.role ?? profile.role) as Role,
    // Without a cluster there is nothing yet in which it must be unique (PROTOCOL.md, "Names").
    hostname: device.hostname ?? deriveHostname(device.serial),
    identity:
      detail.thumbprint === null ? null : { kind: 'key' as const, thumbprint: detail.thumbprint, jwk: detail.jwk },
    min_assurance: device.minAssurance as Assurance | null,
    labels: device.labels,
    vars: device.vars,
    macs: device.macs,
    uuid: device.uuid,
    note: device.note,
    armed_until: secondsOrNull(device.armedUntil),
    reenroll_granted: device.reenrollGranted,
    must_rejoin: device.mustRejoin,
    last_enrollment: last ? toLast(last) : null,
    created_at: seconds(device.createdAt),
    updated_at: seconds(device.updatedAt),
  }
}

const nodeOf = (row: NodeOfRow | undefined) => (row ? shownSight(row) : null)

function progressOf({ device }: DeviceDetail, live: LastEnrollment | undefined): Progress {
  return {
    state: device.state as DeviceState,
    stateSince: seconds(device.stateSince),
    lastStep: live?.lastStep ?? null,
    lastResult: live?.lastResult ?? null,
    lastStepAt: secondsOrNull(live?.lastStepAt ?? null),
    failure: device.failure,
    mustRejoin: device.mustRejoin,
  }
}

/** Joined or ready by the device's own word; its cluster has not shown it. */
function isReported(state: DeviceState, live: LastEnrollment | undefined): boolean {
  return (state === 'joined' || state === 'ready') && live?.observed !== true
}

function toLast(last: LastEnrollment) {
  return {
    id: last.id,
    live: last.endedAt === null,
    created_at: seconds(last.createdAt),
    role: last.role as Role,
    hostname: last.hostname,
    assurance: last.assurance as Assurance,
    profile_revision: last.profileRevision,
    last_step: last.lastStep,
    last_result: last.lastResult,
    last_detail: last.lastDetail,
    last_step_at: secondsOrNull(last.lastStepAt),
    join_expires_at: seconds(last.joinExpiresAt),
    redeemed_at: secondsOrNull(last.redeemedAt),
    applied_at: secondsOrNull(last.appliedAt),
    joined_at: secondsOrNull(last.joinedAt),
    ready_at: secondsOrNull(last.readyAt),
    observed: last.observed,
    ended_at: secondsOrNull(last.endedAt),
    end_reason: last.endReason,
  }
}
