import { progressOf } from '../k3s/upgrade.ts'
import { recordAudit } from '../store/audit.ts'
import { updateCluster } from '../store/clusters.ts'
import { date } from '../store/time.ts'
import { listRunningUpgrades, listUpgradeNodes, lockClusterById, upgradeOf } from '../store/upgrades.ts'
import type { Context } from './context.ts'

/** Seconds between looks: an upgrade takes minutes a Node, and a version that moves a moment later harms nobody. */
const period = 15

type Deps = Pick<Context, 'db' | 'now' | 'log'>

/**
 * Looks at the Nodes of clusters that are being upgraded. Once every server runs the version it becomes the cluster's, so that new
 * machines get it: an agent must not be newer than a server (Kubernetes' version skew policy).
 */
export async function followUpgrades(context: Deps): Promise<void> {
  for (const id of await listRunningUpgrades(context.db)) await follow(context, id)
}

/** Follows upgrades until stopped. Never fails the process. */
export function startUpgradeFollower(context: Deps): { stop: () => Promise<void> } {
  let running: Promise<unknown> = Promise.resolve()
  const pass = () => {
    running = followUpgrades(context).catch((error: Error) =>
      context.log.debug({ err: { message: error.message } }, 'upgrades not followed'),
    )
  }
  const timer = setInterval(pass, period * 1000)
  timer.unref()
  return {
    stop: async () => {
      clearInterval(timer)
      await running
    },
  }
}

async function follow({ db, now: clock, log }: Deps, id: string): Promise<void> {
  const now = clock()
  await db.transaction(async (tx) => {
    const row = await lockClusterById(tx, id)
    const upgrade = row && upgradeOf(row)
    if (!row || !upgrade) return
    const { servers, agents, strangers, serversDone, done } = progressOf(upgrade.to, await listUpgradeNodes(tx, id))
    const reached = servers.at + agents.at + strangers.at
    const moves = serversDone && upgrade.servers_done_at === undefined
    if (reached === upgrade.reached && !moves && !done) return
    const after = {
      ...upgrade,
      ...(reached === upgrade.reached ? {} : { reached, reached_at: now }),
      ...(moves ? { servers_done_at: now } : {}),
      ...(done ? { done_at: now } : {}),
    }
    await updateCluster(tx, id, {
      upgrade: after,
      version: row.version + 1,
      updatedAt: date(now),
      ...(moves ? { k3sVersion: upgrade.to } : {}),
    })
    const tell = (action: string, detail: object) =>
      recordAudit(tx, now, { name: 'server' }, action, `cluster:${row.name}`, { to: upgrade.to, ...detail })
    if (moves) await tell('cluster.upgrade.servers', { servers: servers.of })
    if (done) await tell('cluster.upgrade.done', { servers: servers.of, agents: agents.of, strangers: strangers.of })
    if (moves || done) log.info({ cluster: id, to: upgrade.to, done }, 'an upgrade moved')
  })
}
