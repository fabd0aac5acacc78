import { isDeepStrictEqual } from 'node:util'
import { AppError } from '../errors.ts'
import { ClusterSpec } from '../k3s/cluster.ts'
import { hasServerDevices } from '../store/access.ts'
import { recordAudit } from '../store/audit.ts'
import {
  type ClusterRow,
  countClusterDevices,
  findCluster,
  hasLiveEnrollment,
  updateCluster,
} from '../store/clusters.ts'
import type { Drizzle } from '../store/database.ts'
import { date } from '../store/time.ts'
import type { Actor, Precondition } from './actor.ts'
import { askManaged } from './ask-managed.ts'
import { checkCluster } from './check-cluster.ts'
import { checkManaged } from './check-managed.ts'
import { columnsOf, type ShownCluster, showCluster, specOf } from './cluster-view.ts'
import type { Context } from './context.ts'
import { parse, refuse } from './invalid.ts'
import { mergePatch } from './merge-patch.ts'

/**
 * Merges a patch (RFC 7396) into a cluster. A patch that changes nothing writes nothing.
 * @throws AppError `not_found`, `precondition_failed`, `invalid`, `state_conflict`, `datastore_unavailable`
 */
export function changeCluster(
  context: Context,
  actor: Actor,
  name: string,
  patch: unknown,
  precondition: Precondition,
): Promise<ShownCluster> {
  const now = context.now()
  return context.db.transaction(async (tx) => {
    const row = await findCluster(tx, name, 'update')
    if (!row) throw new AppError('not_found')
    precondition(row)
    const before = specOf(row, context.vault)
    const spec = parse(ClusterSpec, mergePatch(before, patch))
    const changed = changedMembers(before, spec)
    if (changed.length === 0) return showCluster(tx, row, now)
    refuse(changed.includes('name') ? [{ path: 'name', reason: 'a name cannot be changed' }] : [])
    await checkCluster({ db: tx, managed: context.managed }, spec, before)
    await checkState(tx, row, before, spec)
    // What was fetched or rendered for another Rancher is of no use to this one.
    const forgotten = {
      ...(changed.includes('rancher') ? { rancherManifestSealed: null, rancherGivenTo: null } : {}),
      ...(changed.includes('access') ? { observeAfter: null, observeTrouble: null } : {}),
    }
    const set = {
      ...columnsOf(row.id, spec, context.vault),
      ...stateAfter(row, spec, now),
      ...forgotten,
      updatedAt: date(now),
    }
    if (becomesManaged(before, spec)) await goManaged({ db: tx, managed: context.managed }, row.id)
    const after = await updateCluster(tx, row.id, { ...set, version: row.version + 1 })
    const detail = { changed, version: spec.version, state: after.state }
    await recordAudit(tx, now, actor, 'cluster.change', `cluster:${name}`, detail)
    return showCluster(tx, after, now)
  })
}

const becomesManaged = (before: ClusterSpec, after: ClusterSpec) =>
  before.datastore.kind !== 'managed' && after.datastore.kind === 'managed'

async function goManaged(deps: { db: Drizzle; managed: Context['managed'] }, clusterId: string): Promise<void> {
  await checkManaged(deps, 1)
  await askManaged(deps, (managed) => managed.declare(clusterId))
}

/** Names of the members that differ; never their values, which may be secret. */
function changedMembers(before: ClusterSpec, after: ClusterSpec): string[] {
  const members = Object.keys(ClusterSpec.shape) as (keyof ClusterSpec)[]
  return members.filter((member) => !isDeepStrictEqual(before[member], after[member]))
}

async function checkState(tx: Drizzle, row: ClusterRow, before: ClusterSpec, after: ClusterSpec): Promise<void> {
  const began = async () => row.state !== 'virgin' || (await hasLiveEnrollment(tx, row.id))
  if (before.datastore.kind !== after.datastore.kind && (await began())) {
    throw new AppError('state_conflict', { detail: 'the cluster has begun: its kind of datastore stays' })
  }
  // A machine that has its document installs the version in it, and servers of two versions must not meet.
  if (before.version !== after.version && (await began())) {
    const detail = `the cluster has begun, or a machine has its document: POST /api/v1/clusters/${row.name}/upgrade`
    throw new AppError('state_conflict', { detail })
  }
  if (before.access === undefined && after.access !== undefined && (await hasServerDevices(tx, row.id))) {
    throw new AppError('state_conflict', { detail: 'the cluster has servers of the roll: it needs no access' })
  }
  if (before.api_endpoint !== undefined && after.api_endpoint === undefined) {
    if ((await countClusterDevices(tx, row.id, 1)) > 0) {
      throw new AppError('state_conflict', { detail: 'the cluster has devices, which may need its api_endpoint' })
    }
  }
}

// A known CA hash is what tells that a cluster is up, beside its bootstrap row on a managed datastore (PROTOCOL.md, "Tasks and nodes");
// stuck and compromised are ended by verbs.
function stateAfter(row: ClusterRow, spec: ClusterSpec, now: number): Partial<ClusterRow> {
  if ((spec.ca_hash ?? null) === row.caHash) return {}
  const at = date(now)
  const source = { caHashFrom: spec.ca_hash === undefined ? null : 'admin', caHashConfirmedAt: null }
  const isReady = row.datastoreKind !== 'managed' || row.bootstrap === 'ready'
  if (spec.ca_hash !== undefined && isReady && (row.state === 'virgin' || row.state === 'initializing')) {
    return { ...source, state: 'up', stateSince: at, initializerDeviceId: null, initializerUntil: null }
  }
  if (spec.ca_hash === undefined && row.state === 'up') return { ...source, state: 'virgin', stateSince: at }
  return source
}
