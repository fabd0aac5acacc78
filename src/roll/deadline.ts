import type { DeviceState } from './state.ts'

/** What decides whether a device is late. Times are Unix seconds. */
export type Progress = {
  state: DeviceState
  stateSince: number
  /** The last of our own steps that the live enrollment reported */
  lastStep: string | null
  lastResult: string | null
  lastStepAt: number | null
  /** Why it is `failed`, or what its Node is doubted for */
  failure: string | null
  /** Its cluster was made anew under it. */
  mustRejoin: boolean
}

/** A device past its deadline: since when, at what step, and what an admin can do about it. */
export type Stuck = { since: number; step: string | null; reason: string }

const minute = 60
const hour = 60 * minute
const day = 24 * hour

/** Seconds that a device may stay in a state, or at a step, before it is stuck. The ends have none: nothing is awaited there. */
export const patience: Readonly<Record<DeviceState, number | null>> = {
  // A box is registered when it is bought and plugged in when it arrives.
  registered: 90 * day,
  pending: 7 * day,
  // One boot and one more try of the client.
  enrolled: 30 * minute,
  // A step: a full OS update, or 70 MB of K3s, over a slow mobile line.
  installing: 2 * hour,
  failed: hour,
  joined: 15 * minute,
  ready: null,
  revoked: null,
  retired: null,
}

/** When the device will be stuck, in Unix seconds; each step it reports gives it more time. Null where nothing is awaited. */
export function deadlineOf(p: Progress): number | null {
  if ((p.mustRejoin || p.failure !== null) && isInside(p)) return p.stateSince
  const seconds = patience[p.state]
  return seconds === null ? null : lastSign(p) + seconds
}

/**
 * Whether and why a device is stuck, derived when it is read: no timer has to run for it.
 * @param now Unix seconds
 */
export function stuckOf(p: Progress, now: number): Stuck | null {
  const deadline = deadlineOf(p)
  if (deadline === null || now <= deadline) return null
  return { since: deadline, step: underWay(p) ? p.lastStep : null, reason: reasonOf(p) }
}

function lastSign(p: Progress): number {
  return underWay(p) ? Math.max(p.stateSince, p.lastStepAt ?? 0) : p.stateSince
}

function underWay(p: Progress): boolean {
  return p.state === 'enrolled' || p.state === 'installing' || p.state === 'failed' || p.state === 'joined'
}

const isInside = ({ state }: Progress): boolean => state === 'joined' || state === 'ready'

function reasonOf(p: Progress): string {
  if (p.mustRejoin)
    return 'its cluster was made anew: install the device again, or make it claim again, and it joins the new one'
  if (p.failure !== null && isInside(p)) return p.failure
  switch (p.state) {
    case 'registered':
      return 'it never called in: is it powered and online, and are its serial number and key the ones on the roll?'
    case 'pending':
      return 'it waits for an admin to approve or reject it'
    case 'enrolled':
      return `it was given its document and never said that it applied it: ${lastStep(p)}`
    case 'failed':
      return `it failed and has not tried again: ${p.failure ?? lastStep(p)}`
    case 'joined':
      return 'it joined its cluster and its Node did not become Ready'
    default:
      return `it stopped reporting: ${lastStep(p)}`
  }
}

function lastStep(p: Progress): string {
  return p.lastStep === null
    ? 'no step was reported'
    : `the last step was ${p.lastStep} (${p.lastResult ?? 'no result'})`
}
