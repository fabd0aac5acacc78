import { recordAudit } from '../store/audit.ts'
import { stopCluster } from '../store/gate.ts'
import type { Context } from './context.ts'

/**
 * Makes a cluster that is not up *stuck*, with the reason, in audit and log. What stopped already stays as it is.
 * @param stop `lost`: the device whose lease ran out, if that is why
 */
export async function stop(
  { db, now, log }: Pick<Context, 'db' | 'now' | 'log'>,
  clusterId: string,
  { reason, lost = null }: { reason: string; lost?: string | null },
): Promise<void> {
  await db.transaction(async (tx) => {
    const name = await stopCluster(tx, clusterId, { reason, lost, now: now() })
    if (name === undefined) return
    log.error({ cluster: clusterId, reason }, 'a cluster is stuck')
    await recordAudit(tx, now(), { name: 'server' }, 'cluster.stuck', `cluster:${name}`, { reason })
  })
}
