import {
  type Count,
  isRunning,
  progressOf,
  stuckReason,
  type Upgrade,
  type UpgradeNode,
  waitsFor,
} from '../k3s/upgrade.ts'
import type { UpgradeWindow } from '../k3s/upgrade-window.ts'

/** An upgrade as admins see it. Times are Unix seconds. */
export type UpgradeBody = {
  from: string
  to: string
  state: 'running' | 'done' | 'ended'
  started_at: number
  servers_done_at: number | null
  done_at: number | null
  servers: Count
  agents: Count
  strangers: Count
  window: UpgradeWindow | null
  agents_at_once: number
  drain_agents: boolean
  image: string
  waits_for: string | null
  stuck_reason: string | null
  /** What the admin runs, while it runs */
  apply: string | null
}

export function upgradeBody(
  upgrade: Upgrade,
  cluster: string,
  nodes: readonly UpgradeNode[],
  now: number,
): UpgradeBody {
  const { servers, agents, strangers } = progressOf(upgrade.to, nodes)
  const ended = upgrade.done_at === undefined ? 'ended' : 'done'
  const runs = isRunning(upgrade)
  return {
    from: upgrade.from,
    to: upgrade.to,
    state: runs ? 'running' : ended,
    started_at: upgrade.started_at,
    servers_done_at: upgrade.servers_done_at ?? null,
    done_at: upgrade.done_at ?? null,
    servers,
    agents,
    strangers,
    window: upgrade.window ?? null,
    agents_at_once: upgrade.agents_at_once,
    drain_agents: upgrade.drain_agents,
    image: upgrade.image,
    waits_for: (runs && waitsFor(upgrade, now)) || null,
    stuck_reason: (runs && stuckReason(upgrade, nodes, now)) || null,
    apply: runs ? applying(cluster) : null,
  }
}

// In the names that docs/api.md gives to the server, its pin and the admin's token.
const applying = (cluster: string) =>
  `curl -sSf -k --pinnedpubkey "$PIN" -H @admin.header "$URL/api/v1/clusters/${cluster}/upgrade-plan" | kubectl apply -f -`
