import { sql } from 'drizzle-orm'
import type { Drizzle } from './database.ts'

/** A device whose name somebody else may have, and who is beside it in its cluster. */
export type TakenName = {
  device_id: string
  serial: string
  cluster: string
  /** Its hostname, and the Node's name */
  node: string
  /** The cluster shows a Node of that name, and has called it Ready for a while */
  alive: boolean
  /** Devices that were given what they join with, and whose own Node is not there: by hostname, the first ten */
  without_node: string[]
  /** Nodes that no device explains, the first ten */
  strangers: string[]
}

/** Seconds for which a Node must have been Ready to contradict what its device says. */
const lasting = 120

/** Locks the device of a live enrollment, and looks at the Node of its name. */
export async function lockTakenName(tx: Drizzle, enrollmentId: string, now: number): Promise<TakenName | undefined> {
  const rows = await tx.execute(sql`
    select d.id as device_id, d.serial, c.name as cluster, e.hostname as node,
      exists (select from nodes n where n.cluster_id = e.cluster_id and n.name = e.hostname and n.gone_at is null and n.ready
        and n.ready_since <= to_timestamp(${now - lasting})) as alive,
      array(select o.hostname from enrollments o where o.cluster_id = e.cluster_id and o.ended_at is null and o.id <> e.id
        and (o.redeemed_at is not null or o.join_published_at is not null)
        and not exists (select from nodes n where n.cluster_id = o.cluster_id and n.name = o.hostname and n.gone_at is null)
        order by o.hostname limit 10) as without_node,
      array(select n.name from nodes n where n.cluster_id = e.cluster_id and n.device_id is null and n.gone_at is null
        and n.name <> e.hostname order by n.name limit 10) as strangers
    from enrollments e join devices d on d.id = e.device_id join clusters c on c.id = e.cluster_id
    where e.id = ${enrollmentId} and e.ended_at is null for update of d`)
  return rows[0] as TakenName | undefined
}

/** Keeps what is wrong with a device, for the admin. @returns whether that is new */
export async function noteFailure(tx: Drizzle, deviceId: string, failure: string, now: number): Promise<boolean> {
  const rows = await tx.execute(sql`
    update devices set failure = ${failure}, version = version + 1, updated_at = to_timestamp(${now})
    where id = ${deviceId} and failure is distinct from ${failure} returning 1`)
  return rows.length > 0
}
