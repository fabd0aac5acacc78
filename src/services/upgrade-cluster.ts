import { AppError } from '../errors.ts'
import type { RancherInstall } from '../k3s/cluster.ts'
import { supportProblem } from '../k3s/rancher.ts'
import {
  isRunning,
  nodesProblem,
  progressOf,
  type Upgrade,
  type UpgradeNode,
  type UpgradeRequest,
} from '../k3s/upgrade.ts'
import { upgradePlan } from '../k3s/upgrade-plan.ts'
import { compareVersions, upgradeProblem } from '../k3s/version.ts'
import { recordAudit } from '../store/audit.ts'
import { type ClusterRow, findCluster, updateCluster } from '../store/clusters.ts'
import type { Drizzle } from '../store/database.ts'
import { date } from '../store/time.ts'
import { listUpgradeNodes, upgradeOf } from '../store/upgrades.ts'
import type { Actor, Precondition } from './actor.ts'
import { refuseUnrecorded } from './check-cluster.ts'
import { rancherOf, type ShownCluster, showCluster } from './cluster-view.ts'
import type { Context } from './context.ts'

/**
 * Begins a cluster's upgrade, or calls it off (`replace`, and the version it came from). The plan is applied by the admin; how far
 * it is, is seen from the Nodes (services/follow-upgrades.ts). New machines get the old version until every server runs the new one.
 * @throws AppError `not_found`, `precondition_failed`; `state_conflict` where the rules or the state forbid it; `invalid` without hashes
 */
export function upgradeCluster(
  context: Context,
  actor: Actor,
  name: string,
  request: UpgradeRequest,
  precondition: Precondition,
): Promise<ShownCluster> {
  const now = context.now()
  return context.db.transaction(async (tx) => {
    const row = await findCluster(tx, name, 'update')
    if (!row) throw new AppError('not_found')
    precondition(row)
    const nodes = await listUpgradeNodes(tx, row.id)
    const rancher = row.rancherSealed && rancherOf(row.id, row.rancherSealed, context.vault)
    const upgrade = await decide(tx, { row, install: rancher?.install }, request, nodes, now)
    const after = await updateCluster(tx, row.id, { upgrade, updatedAt: date(now), version: row.version + 1 })
    const action = upgrade.ended_at === undefined ? 'cluster.upgrade' : 'cluster.upgrade.end'
    const { from, to, image, window } = upgrade
    await recordAudit(tx, now, actor, action, `cluster:${name}`, { from, to, image, window: window ?? null })
    return showCluster(tx, after, now)
  })
}

/** The Plans of the upgrade that runs, or ran last, as YAML. @throws AppError `not_found` if there was none */
export async function readUpgradePlan({ db }: Pick<Context, 'db'>, name: string): Promise<string> {
  const row = await findCluster(db, name)
  if (!row) throw new AppError('not_found')
  const upgrade = upgradeOf(row)
  if (!upgrade || upgrade.ended_at !== undefined)
    throw new AppError('not_found', { detail: 'no upgrade was ordered, or it was called off' })
  return upgradePlan(upgrade)
}

async function decide(
  tx: Drizzle,
  { row, install }: { row: ClusterRow; install: RancherInstall | undefined },
  { version, replace, ...asked }: UpgradeRequest,
  nodes: readonly UpgradeNode[],
  now: number,
): Promise<Upgrade> {
  refuseState(row)
  const current = upgradeOf(row)
  const running = isRunning(current) ? current : undefined
  if (running && !replace) throw refused(`the upgrade to ${running.to} runs: wait, or say replace`)
  if (running && version === running.from) return callOff(running, nodes, now)
  // The same one again, e.g. with another window.
  const again = running?.to === version ? running : undefined
  const problem = again
    ? undefined
    : (upgradeProblem(row.k3sVersion, version) ?? nodesProblem(nodes, version) ?? rancherProblem(install, version))
  if (problem) throw refused(problem)
  await refuseUnrecorded(tx, { version, allow_unpinned: row.allowUnpinned })
  const { servers, agents, strangers } = progressOf(version, nodes)
  return {
    ...asked,
    from: again?.from ?? row.k3sVersion,
    to: version,
    started_at: again?.started_at ?? now,
    reached: servers.at + agents.at + strangers.at,
    reached_at: now,
    ...(again?.servers_done_at === undefined ? {} : { servers_done_at: again.servers_done_at }),
  }
}

function rancherProblem(install: RancherInstall | undefined, version: string): string | undefined {
  const problem = install && supportProblem(install, version)
  return problem && `${problem}: upgrade Rancher and tell its version (rancher.install), or say allow_unsupported there`
}

function refuseState({ state, name }: ClusterRow): void {
  if (state === 'up') return
  if (state === 'virgin') throw refused(`${name} has not begun: PATCH its version instead`)
  throw refused(`${name} is ${state}: only a cluster that is up is upgraded`)
}

function callOff(running: Upgrade, nodes: readonly UpgradeNode[], now: number): Upgrade {
  const { from } = running
  const changed = nodes.find(({ version }) => version !== null && isNewer(version, from))
  if (changed) throw refused(`${changed.name} runs ${changed.version} already, and K3s knows no way back`)
  return { ...running, ended_at: now }
}

// A kubelet of another distribution says nothing of ours.
const isNewer = (version: string, than: string) => /\+k3s\d+$/.test(version) && compareVersions(version, than) > 0

const refused = (detail: string) => new AppError('state_conflict', { detail })
