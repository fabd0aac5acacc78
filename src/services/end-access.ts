import { setTimeout as sleep } from 'node:timers/promises'
import { lastMembership } from '../store/memberships.ts'
import type { Context } from './context.ts'
import { fenceLogins } from './end-logins.ts'
import { wakeCluster } from './queue-task.ts'

/** Milliseconds that an admin's answer waits for Postgres; what takes longer goes on, and the sweep of ended logins comes back to it. */
const patience = 10_000

/** After the commit of a revoke or retire: ends what the device may write, and tells its cluster that there is something to do. */
export async function endAccess(context: Context, deviceId: string): Promise<void> {
  const fenced = fenceLogins(context, { deviceId }).catch((error: Error) =>
    context.log.warn({ err: { message: error.message }, device: deviceId }, 'its datastore login is not ended yet'),
  )
  const waited = new AbortController()
  await Promise.race([fenced, sleep(patience, undefined, { signal: waited.signal }).catch(() => {})])
  waited.abort()
  const last = await lastMembership(context.db, deviceId)
  if (last) wakeCluster(context, last.clusterId)
}
