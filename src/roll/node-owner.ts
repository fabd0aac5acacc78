import type { Step } from './report.ts'

/** A live enrollment that may explain a Node. */
export type EnrolledNode = {
  enrollmentId: string
  deviceId: string
  hostname: string
  /** Its cluster showed a Node of its name, and as ready */
  observed: boolean
  ready: boolean
  /** It joined: by a Node that is its own, or by its own word that it is ready */
  joined: boolean
  /** A server that was given its cluster's token, which it asks for just before it starts K3s */
  redeemed: boolean
  /** The last step that it reported */
  lastStep: string | null
  lastResult: string | null
  /** From when on a living Node of that name is this enrollment's: it was starting K3s, or has had the time to. Unix seconds */
  startedAt: number
  /** An admin was told that the Node of its name may be another's */
  alarmed: boolean
}

/** `own`: the enrollment's; `doubted`: somebody may have taken its name; `other`: not of this enrollment, or not yet. */
export type Owner = 'own' | 'doubted' | 'other'

/** Seconds after which Kubernetes calls the Node of a dead kubelet unknown (node-monitor-grace-period, 50 s), with room. */
const graceSeconds = 120
/** Seconds that a doubt may last before it is an alarm: reports may be late, and the Node of a former installation dies. */
const doubtSeconds = 900

/**
 * Whose a Node is that has the name of a live enrollment. K3s gives any name that is free to any agent with a good token, and keeps it for the password
 * that came first (k3s.md §9), so the name alone proves nothing: it is the device's own if it says that it joined, or if the Node appeared when
 * the device could join and not before.
 * @param stays the Node as it was known, if it was there at the last look
 * @param teller the device that tells of it with its own node credential
 */
export function ownerOf(
  node: { ready: boolean | null; seenAt?: number },
  stays: { enrollmentId: string | null; deviceId: string | null } | undefined,
  one: EnrolledNode,
  { at, teller }: { at: number; teller?: string | undefined },
): Owner {
  if (stays?.enrollmentId === one.enrollmentId) return 'own'
  if (stays && !isAlive(node, one, at)) return 'other'
  if (stays?.deviceId === one.deviceId || teller === one.deviceId || saysJoined(one)) return 'own'
  return !stays && mayJoin(one) ? 'own' : 'doubted'
}

/**
 * Whether it is time to tell an admin of a doubt.
 * @param since when a Node of the name was first seen, Unix seconds
 */
export function isAlarm(one: EnrolledNode, since: number, at: number): boolean {
  return !one.alarmed && at - Math.max(since, one.startedAt) >= doubtSeconds
}

// A box that is installed again finds the Node of its former life still there, perhaps still called Ready: only a sign of life since it
// started K3s again makes it the new one's, else its join token would die too early.
function isAlive(node: { ready: boolean | null; seenAt?: number }, one: EnrolledNode, at: number): boolean {
  if (node.seenAt !== undefined) return node.seenAt > one.startedAt
  return node.ready === true && at >= one.startedAt + graceSeconds
}

const [join, ready] = ['k3s.join', 'k3s.ready'] satisfies Step[]

function saysJoined({ joined, lastStep, lastResult }: EnrolledNode): boolean {
  return joined || lastStep === ready || (lastStep === join && lastResult === 'ok')
}

// Only the device's own word speaks against what its cluster shows (PROTOCOL.md, "Report"): that it is at a step before it can join. All its reports
// may be lost, or the last ones.
function mayJoin({ redeemed, lastStep }: EnrolledNode): boolean {
  return lastStep === null || lastStep === join || redeemed
}
