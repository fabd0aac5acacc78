import {
  type LoginRow,
  markDropped,
  markFenced,
  selectClusterLogins,
  selectEndedLogins,
  selectLogins,
} from '../store/logins.ts'
import type { Context } from './context.ts'

export type EndDeps = Pick<Context, 'sql' | 'managed' | 'now' | 'log'>

/** Seconds that a login may outlive a claim that replaced its enrollment and never came to a login of its own. */
const grace = 3_600

/**
 * Fences the logins of a device, or of one enrollment: when this returns, their nodes write nothing any more.
 * The sweep drops those whose enrollment ended.
 * @throws what Postgres says, e.g. while it is away: nothing is known then, and the sweep goes on trying
 */
export async function fenceLogins(
  { sql, managed, now }: EndDeps,
  of: { deviceId: string } | { enrollmentId: string },
): Promise<void> {
  if (!managed) return
  for (const { role, enrollment_id } of await selectLogins(sql, of)) {
    await managed.fenceLogin(enrollment_id)
    await markFenced(sql, role, now())
  }
}

/**
 * Drops each login whose enrollment ended. What fails is logged, stays noted, and is tried again by the next sweep.
 * @param deviceId one device's; all devices' if not given
 */
export async function dropEndedLogins(deps: EndDeps, deviceId?: string): Promise<void> {
  if (deps.managed) await dropLogins(deps, await selectEndedLogins(deps.sql, deps.now(), grace, deviceId))
}

/** Drops every login of a cluster that is no more. @throws what Postgres says */
export async function dropClusterLogins({ sql, managed, now }: EndDeps, clusterId: string): Promise<void> {
  for (const { role, enrollment_id } of await selectClusterLogins(sql, clusterId)) {
    await managed?.dropLogin(clusterId, enrollment_id)
    await markDropped(sql, role, now())
  }
}

async function dropLogins({ sql, managed, now, log }: EndDeps, logins: readonly LoginRow[]): Promise<void> {
  for (const { role, cluster_id, enrollment_id } of logins) {
    try {
      await managed?.dropLogin(cluster_id, enrollment_id)
      await markDropped(sql, role, now())
    } catch (error) {
      log.warn(
        { err: { message: (error as Error).message }, enrollment: enrollment_id },
        'a login could not be dropped',
      )
    }
  }
}
