import { stringify } from 'yaml'
import { containerLabel } from './container.ts'
import { nodeNames, passedBy, type Upgrade, type UpgradeNode, upgradeImage } from './upgrade.ts'
import type { UpgradeWindow } from './upgrade-window.ts'

/** Where system-upgrade-controller and its account live, and the plans' names, as K3s' documentation has them. */
const namespace = 'system-upgrade'
const serverPlan = 'server-plan'
const agentPlan = 'agent-plan'

/** K3s labels its servers with it; `master` is gone since 1.33 (K3s issue 12395). */
const controlPlane = 'node-role.kubernetes.io/control-plane'

/**
 * The Plans of an upgrade, as YAML: servers one at a time, then agents, whose `prepare` waits until all servers run the version.
 * Facts: rancher/system-upgrade-controller pkg/apis/upgrade.cattle.io/v1/types.go and k3s-io/k3s-upgrade scripts/upgrade.sh.
 */
export function upgradePlan(upgrade: Upgrade): string {
  const { image } = upgrade
  const servers = plan(serverPlan, upgrade, {
    concurrency: 1,
    nodeSelector: select({ key: controlPlane, operator: 'In', values: ['true'] }),
    cordon: true,
  })
  const agents = plan(agentPlan, upgrade, {
    concurrency: upgrade.agents_at_once,
    nodeSelector: select({ key: controlPlane, operator: 'DoesNotExist' }),
    prepare: { image, args: ['prepare', serverPlan] },
    // Pods that a budget protects get a minute each, then the upgrade goes on.
    ...(upgrade.drain_agents ? { drain: { force: true, skipWaitForDeleteTimeout: 60 } } : { cordon: true }),
  })
  return `${[servers, agents].map(yaml).join('---\n')}`
}

/** What an admin should know before an upgrade begins. */
export function upgradeWarnings(upgrade: Upgrade, nodes: readonly UpgradeNode[]): string[] {
  const { image } = upgrade
  const warnings: string[] = []
  if (!image.includes('@sha256:')) {
    const named = image === upgradeImage ? 'the upgrade image' : image
    warnings.push(
      `${named} is named by tag: what it holds is not checked against the hashes on record; pin it with image …@sha256:…`,
    )
  }
  const others = passedBy(upgrade, nodes)
  if (others.length > 0) {
    warnings.push(
      `K3s of ${nodeNames(others)} runs in a container: the plan passes by it; run its new image there, servers first and one at a time (docs/versions.md)`,
    )
  }
  return warnings
}

function plan(name: string, { to, image, window }: Upgrade, spec: Record<string, unknown>) {
  return {
    apiVersion: 'upgrade.cattle.io/v1',
    kind: 'Plan',
    metadata: { name, namespace, labels: { 'app.kubernetes.io/managed-by': 'rollcall' } },
    spec: {
      version: to,
      ...spec,
      // A node with a taint of its own is upgraded like any other.
      tolerations: [{ operator: 'Exists' }],
      serviceAccountName: namespace,
      ...(window ? { window: windowSpec(window) } : {}),
      upgrade: { image },
    },
  }
}

/**
 * K3s in a container is not for a plan: its job would change the program inside the container and end it, what starts again is the image's, and so on.
 * A Node without the label is selected too (Kubernetes' NotIn).
 */
const onHost = { key: containerLabel.key, operator: 'NotIn', values: [containerLabel.value] }
const select = (expression: Record<string, unknown>) => ({ matchExpressions: [expression, onHost] })

const windowSpec = ({ days, start, end, time_zone }: UpgradeWindow) => ({
  days,
  startTime: start,
  endTime: end,
  timeZone: time_zone,
})

const yaml = (value: unknown) =>
  stringify(value, { lineWidth: 0, defaultStringType: 'QUOTE_DOUBLE', defaultKeyType: 'PLAIN' })
