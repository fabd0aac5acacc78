import { sql } from 'drizzle-orm'
import type { NodeSource } from '../roll/sighting.ts'
import type { Drizzle } from './database.ts'

/** A Node, an enrollment whose Node is to come, or both. Times are Unix seconds. */
export type ShownNodeRow = {
  name: string
  serial: string | null
  role: string | null
  /** The device's */
  state: string | null
  /** A live enrollment explains it. */
  enrolled: boolean
  observed: boolean
  /** The cluster showed it at some time; the rest is null otherwise. */
  seen: boolean
  ready: boolean | null
  readySince: number | null
  version: string | null
  source: NodeSource | null
  seenAt: number | null
  goneAt: number | null
}

/**
 * The Nodes that a cluster shows beside the devices that are enrolled in it, by name: what both have is one row, and who misses the other stands
 * alone. A device whose enrollment ended stays with its Node for as long as that is there.
 */
export async function listShownNodes(
  db: Drizzle,
  clusterId: string,
  page: { after?: string | undefined; limit: number },
): Promise<ShownNodeRow[]> {
  const rows = await db.execute(sql`
    select x.name, d.serial, x.role, d.state, x.enrolled, x.observed, x.seen, x.ready, x.version, x.source,
      extract(epoch from x.ready_since)::float8 as "readySince", extract(epoch from x.seen_at)::float8 as "seenAt",
      extract(epoch from x.gone_at)::float8 as "goneAt"
    from (
      select coalesce(n.name, e.hostname) collate "C" as name, coalesce(e.device_id, n.device_id) as device_id,
        coalesce(e.role, (select f.role from enrollments f where f.id = n.enrollment_id)) as role, e.id is not null as enrolled,
        coalesce(e.observed, false) as observed, n.name is not null as seen, n.ready, n.ready_since, n.version, n.source, n.seen_at, n.gone_at
      from (select * from nodes where cluster_id = ${clusterId}) n
      full join (select * from enrollments where cluster_id = ${clusterId} and ended_at is null) e on e.hostname = n.name
    ) x left join devices d on d.id = x.device_id
    where ${page.after === undefined ? sql`true` : sql`x.name > ${page.after}`}
    order by x.name limit ${page.limit}`)
  return rows as unknown as ShownNodeRow[]
}

/** The Nodes of some devices in their present clusters. */
export async function listNodesOf(
  db: Drizzle,
  deviceIds: readonly string[],
): Promise<(NodeOfRow & { deviceId: string })[]> {
  if (deviceIds.length === 0) return []
  const rows = await db.execute(sql`
    select n.device_id as "deviceId", n.ready, n.version, n.source, extract(epoch from n.ready_since)::float8 as "readySince",
      extract(epoch from n.seen_at)::float8 as "seenAt", extract(epoch from n.gone_at)::float8 as "goneAt"
    from nodes n join devices d on d.id = n.device_id and d.cluster_id = n.cluster_id
    where n.device_id = any(${sql.param([...deviceIds])}::text[])`)
  return rows as unknown as (NodeOfRow & { deviceId: string })[]
}

export type NodeOfRow = Pick<ShownNodeRow, 'ready' | 'readySince' | 'version' | 'source' | 'seenAt' | 'goneAt'>

/** What a cluster still has to do. */
export type WaitingTasks = {
  waiting: number
  /** Of those that failed and are tried again, the one that was tried last */
  lastFailure: { verb: string; subject: string; reason: string; attempts: number; at: number } | null
}

export async function readWaitingTasks(db: Drizzle, clusterId: string): Promise<WaitingTasks> {
  const rows = await db.execute(sql`
    select count(*)::int as waiting, (
      select json_build_object('verb', t.verb, 'subject', t.subject, 'reason', t.reason, 'attempts', t.attempts,
        'at', floor(extract(epoch from t.sent_at)))
      from tasks t where t.cluster_id = ${clusterId} and t.done_at is null and t.reason is not null
      order by t.sent_at desc limit 1) as "lastFailure"
    from tasks where cluster_id = ${clusterId} and done_at is null`)
  return rows[0] as unknown as WaitingTasks
}
