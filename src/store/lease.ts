import type { Sql } from 'postgres'
import { leaseSeconds } from '../k3s/gate.ts'

/**
 * Renews the lease of the server that goes first, and wakes a cluster that was stuck for want of it. Anybody else's call changes nothing.
 * @returns whether it is this device's
 */
export async function renewInitializer(sql: Sql, clusterId: string, deviceId: string, now: number): Promise<boolean> {
  const rows = await sql`
    update clusters set initializer_until = to_timestamp(${now + leaseSeconds}), state = 'initializing', stuck_reason = null,
      state_since = case when state = 'stuck' then to_timestamp(${now}) else state_since end,
      version = version + case when state = 'stuck' then 1 else 0 end, updated_at = to_timestamp(${now})
    where id = ${clusterId} and initializer_device_id = ${deviceId}
      and (state = 'initializing' or (state = 'stuck' and ca_hash is null))
    returning 1`
  return rows.length > 0
}
