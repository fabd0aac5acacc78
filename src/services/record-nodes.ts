import {
  compareSighting,
  type NodeMove,
  type NodeNews,
  type SeenNode,
  type Sighting,
  type SightingChange,
} from '../roll/sighting.ts'
import { type DeviceEvent, type DeviceState, nextState } from '../roll/state.ts'
import type { Drizzle } from '../store/database.ts'
import { type NewEvent, recordEvents } from '../store/events.ts'
import {
  type ClusterNode,
  type ClusterNodes,
  lockNodes,
  lockSeenDevices,
  type SeenChange,
  type SeenDevice,
  selectNodes,
  touchClusters,
  upsertNodes,
  writeSeenDevices,
} from '../store/nodes.ts'
import { date } from '../store/time.ts'
import type { Context } from './context.ts'
import { nameAlarm } from './name-alarm.ts'
import { queueTask, type Task, wakeCluster } from './queue-task.ts'
import { redactor } from './redact-document.ts'
import { rollTransaction } from './roll-transaction.ts'

/** What was seen of the Nodes of one cluster. */
export type NodeObservation = {
  clusterId: string
  source: Sighting['source']
  nodes: readonly SeenNode[]
  /** These are all of its Nodes: one that is missing is gone. */
  complete: boolean
  /** The device that tells of them */
  teller?: string
}

/** Seconds between two notes that a cluster was seen. */
const restSeconds = 60

/**
 * The one way in for what clusters show of their Nodes. Moves devices to joined and ready, tells their timelines, has a join token
 * deleted once it was used, and keeps Nodes that no enrollment explains as strangers, which change no device. One that has a device's name and
 * may be another's moves its state alone, and becomes an alarm if the doubt lasts.
 * Give several clusters at once where there are many: they share their statements, and what says nothing new writes nothing.
 * Names and versions may come from a hostile cluster.
 */
export async function recordNodes(context: Context, ...observations: readonly NodeObservation[]): Promise<void> {
  if (observations.length === 0) return
  const at = context.now()
  const ids = observations.map(({ clusterId }) => clusterId)
  const all = await selectNodes(context.sql, ids)
  const quiet: ClusterNode[] = []
  for (const { clusterId, ...rest } of observations) {
    const sighting = { ...rest, at }
    const change = compare(sighting, all.get(clusterId))
    if (!change) continue
    if (change.moves.length + change.news.length + change.alarms.length > 0) await record(context, clusterId, sighting)
    else quiet.push(...change.rows.map((row) => ({ ...row, clusterId })))
  }
  await upsertNodes(context.db, quiet)
  const rested = [...all].filter(([, { observedAt }]) => at - (observedAt ?? 0) >= restSeconds).map(([id]) => id)
  if (rested.length > 0) await touchClusters(context.sql, rested, at)
}

const compare = (sighting: Sighting, nodes: ClusterNodes | undefined): SightingChange | undefined =>
  nodes && compareSighting(sighting, nodes.known, nodes.enrolled)

/** Compares once more with nobody else at it: two replicas see the same Node join, and its timeline shall say so once. */
async function record(context: Context, clusterId: string, sighting: Sighting): Promise<void> {
  const queued = await rollTransaction(context, async (tx) => {
    const change = compare(sighting, await lockNodes(tx, clusterId))
    if (!change) return false
    const joined = change.moves.length > 0 ? await moveDevices(context, tx, change.moves, sighting.at) : []
    await upsertNodes(
      tx,
      change.rows.map((row) => ({ ...row, clusterId })),
    )
    await recordEvents(tx, date(sighting.at), toldNews(change, sighting))
    for (const enrollmentId of change.alarms) await nameAlarm(context, tx, enrollmentId, 'it never said that it joined')
    const spent = joined.flatMap((device) => deletion(clusterId, device))
    await queueTask(context, tx, ...spent)
    return spent.length > 0
  })
  if (queued) wakeCluster(context, clusterId)
}

const bad: ReadonlySet<NodeNews> = new Set(['node.not_ready', 'node.gone', 'node.doubted'])

function toldNews({ rows, news }: SightingChange, { source }: Sighting): NewEvent[] {
  const versions = new Map(rows.map(({ enrollmentId, version }) => [enrollmentId, version]))
  return news.map((one) => ({
    ...one,
    result: bad.has(one.name) ? 'fail' : 'ok',
    detail: { source, version: versions.get(one.enrollmentId) ?? null },
  }))
}

/** A join token dies with the join that it was made for. */
function deletion(clusterId: string, { token_id, enrollment_id }: SeenDevice): Task[] {
  if (token_id === null) return []
  return [{ clusterId, verb: 'token-delete', subject: token_id, enrollmentId: enrollment_id }]
}

/** @returns those that joined by it */
async function moveDevices(
  context: Context,
  tx: Drizzle,
  moves: readonly NodeMove[],
  at: number,
): Promise<SeenDevice[]> {
  const byEnrollment = new Map(moves.map((move) => [move.enrollmentId, move]))
  const seen = await lockSeenDevices(tx, moves)
  const changes = seen.map((device): SeenChange => {
    const { ready, own } = byEnrollment.get(device.enrollment_id) as NodeMove
    return {
      enrollment_id: device.enrollment_id,
      device_id: device.device_id,
      state: nextState(device.state as DeviceState, eventOf(device, ready)),
      ready,
      own,
      redacted: own ? redacted(context, device) : null,
    }
  })
  await writeSeenDevices(tx, changes, at)
  return seen.filter((device) => byEnrollment.get(device.enrollment_id)?.first)
}

/** What the cluster shows outranks what the device reported. */
function eventOf({ state, observed }: SeenDevice, ready: boolean): DeviceEvent {
  if (ready) return 'ready'
  return state === 'ready' && !observed ? 'unready' : 'join'
}

function redacted(context: Context, { enrollment_id: enrollmentId, ...device }: SeenDevice): string | null {
  const { document_sealed: sealed, document_shared: shared } = device
  try {
    return sealed && redactor(context)(enrollmentId, { sealed, shared })
  } catch (error) {
    context.log.error({ err: error, enrollment: enrollmentId }, 'no redacted copy kept')
    return null
  }
}
