import { z } from '@hono/zod-openapi'
import { ClusterSpec } from './cluster.ts'
import { isInWindow, UpgradeWindow, windowText } from './upgrade-window.ts'
import { compareVersions, parseVersion, upgradeProblem } from './version.ts'

/** The image whose tag is the version, with `-` for `+`. */
export const upgradeImage = 'docker.io/rancher/k3s-upgrade'

const image = z
  .string()
  .max(255)
  .regex(
    /^[a-z0-9][a-z0-9.-]*(?::\d+)?(?:\/[a-z0-9._-]+)+(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/,
    'must be an image such as registry.example.net/rancher/k3s-upgrade@sha256:…',
  )

/** What an admin asks for. PROTOCOL.md, `/clusters/{name}/upgrade`. */
export const UpgradeRequest = z
  .strictObject({
    version: ClusterSpec.shape.version,
    window: UpgradeWindow.optional().describe(
      'A plan begins only then, and goes on to its last node; at any time without',
    ),
    agents_at_once: z.int().min(1).max(100).default(1).describe('Servers always go one at a time'),
    drain_agents: z.boolean().default(false).describe('Evict pods from an agent first; else it is only cordoned'),
    image: image.default(upgradeImage).describe('Without tag or digest, the tag is the version'),
    replace: z.boolean().default(false).describe('Instead of the upgrade that runs; back to its `from` calls it off'),
  })
  .openapi('UpgradeRequest')
export type UpgradeRequest = z.output<typeof UpgradeRequest>

/** An upgrade as it is kept with its cluster: what was asked for, and how far it was last seen. Times are Unix seconds. */
export type Upgrade = Omit<UpgradeRequest, 'version' | 'replace'> & {
  from: string
  to: string
  started_at: number
  /** Nodes that ran `to` when it was last looked at, and since when */
  reached: number
  reached_at: number
  /** Every server runs it: new machines get it too */
  servers_done_at?: number
  done_at?: number
  /** Called off, or replaced by another */
  ended_at?: number
}

/** A Node as its cluster shows it; `role` null = no enrollment says what it is. */
export type UpgradeNode = {
  name: string
  role: 'server' | 'agent' | null
  version: string | null
  ready: boolean | null
  /** No plan upgrades it: its container would begin again with the program of its image. */
  inContainer: boolean
}

export type Count = { at: number; of: number }
/** How many Nodes run the version or a newer one. Strangers may be servers, so they count as both. */
export type Progress = { servers: Count; agents: Count; strangers: Count; serversDone: boolean; done: boolean }

export const isRunning = (upgrade: Upgrade | null | undefined): upgrade is Upgrade =>
  upgrade != null && upgrade.done_at === undefined && upgrade.ended_at === undefined

/**
 * Why these Nodes may not be taken to a version, whatever their cluster says it runs: a Node that was left behind would skip a minor.
 * @returns undefined if they may
 */
export function nodesProblem(nodes: readonly UpgradeNode[], to: string): string | undefined {
  for (const { name, version } of nodes) {
    if (version === null || !isVersion(version) || compareVersions(version, to) === 0) continue
    const problem = upgradeProblem(version, to)
    if (problem) return `${name} runs ${version}: ${problem}`
  }
  return undefined
}

/** How far the Nodes are. With no server seen nothing is done: nobody may have looked yet. */
export function progressOf(to: string, nodes: readonly UpgradeNode[]): Progress {
  const [servers, agents, strangers] = (['server', 'agent', null] as const).map((role) => {
    const group = nodes.filter((node) => node.role === role)
    return { at: group.filter((node) => runs(node, to)).length, of: group.length }
  }) as [Count, Count, Count]
  const serversDone = servers.of + strangers.of > 0 && isWhole(servers) && isWhole(strangers)
  return { servers, agents, strangers, serversDone, done: serversDone && isWhole(agents) }
}

/** Seconds without another Node at the new version after which an upgrade is stuck: one Node's job may take 15 minutes. */
export const patience = 1_800

/**
 * Why an upgrade that runs does not get on; undefined while it does, or waits as it was told to.
 * @param now Unix seconds
 */
export function stuckReason(upgrade: Upgrade, nodes: readonly UpgradeNode[], now: number): string | undefined {
  const still = now - Math.max(upgrade.started_at, upgrade.reached_at)
  if (still < patience) return undefined
  if (upgrade.window && !isInWindow(upgrade.window, now)) return undefined
  const behind = nodes.filter((node) => !runs(node, upgrade.to))
  const minutes = `${Math.floor(still / 60)} minutes`
  if (nodes.length === 0) return `no Node of the cluster was seen in ${minutes}: nobody reports or observes it`
  const down = behind.filter((node) => node.ready !== true)
  if (down.length > 0) return `not Ready: ${nodeNames(down)}; a Node that is gone for good must be retired or deleted`
  // The plan's agents wait until every server runs it, also those that the plan passes by.
  const servers = behind.filter((node) => node.role !== 'agent')
  const turn = servers.length > 0 ? servers : behind
  const first = turn.find((node) => !node.inContainer)
  if (!first && turn.length > 0) {
    return `nothing changed in ${minutes}: K3s of ${nodeNames(turn)} runs in a container, which no plan upgrades: run its new image there`
  }
  const hint = `kubectl -n system-upgrade get plans,jobs`
  if (upgrade.reached === 0) {
    return `no Node changed in ${minutes}: is system-upgrade-controller installed and the plan applied? (${hint})`
  }
  return `nothing changed in ${minutes}; ${first?.name ?? 'a Node'} is next (${hint})`
}

/** What an upgrade waits for, in words, where it waits as it was told to. */
export function waitsFor(upgrade: Upgrade, now: number): string | undefined {
  const { window } = upgrade
  return window && !isInWindow(window, now) ? `its window: ${windowText(window)}` : undefined
}

/** Those behind whose K3s must be upgraded by running its new image. */
export const passedBy = (upgrade: Upgrade, nodes: readonly UpgradeNode[]): UpgradeNode[] =>
  nodes.filter((node) => node.inContainer && !runs(node, upgrade.to))

const isWhole = ({ at, of }: Count) => at === of
const runs = ({ version }: UpgradeNode, to: string) =>
  version !== null && isVersion(version) && compareVersions(version, to) >= 0

// What a Node says of itself is no input of ours: another distribution's kubelet has another form of version.
function isVersion(text: string): boolean {
  try {
    parseVersion(text)
    return true
  } catch {
    return false
  }
}

/** The first five by name, and how many more there are. */
export function nodeNames(nodes: readonly UpgradeNode[]): string {
  const some = nodes.slice(0, 5).map(({ name }) => name)
  return nodes.length > some.length ? `${some.join(', ')} and ${nodes.length - some.length} more` : some.join(', ')
}
