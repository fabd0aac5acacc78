import { renewInitializer } from '../store/lease.ts'
import type { Context } from './context.ts'

/**
 * Called by `PUT /v1/nodes` and redeem, never by a report (PROTOCOL.md, "Tasks and nodes"): the server that goes first keeps its turn.
 * One statement, which finds nothing to do once the cluster is up.
 */
export async function renewLease(
  { sql, now }: Pick<Context, 'sql' | 'now'>,
  lease: { clusterId: string; deviceId: string },
): Promise<void> {
  await renewInitializer(sql, lease.clusterId, lease.deviceId, now())
}
