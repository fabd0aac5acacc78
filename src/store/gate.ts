import { and, eq, inArray, lte, sql } from 'drizzle-orm'
import type { Sql } from 'postgres'
import { type BootstrapState, type GateView, leaseSeconds } from '../k3s/gate.ts'
import type { Drizzle } from './database.ts'
import { clusters } from './declared-schema.ts'
import { date } from './time.ts'

/** The server that asks to be let in. */
export type Asker = { clusterId: string; deviceId: string; enrollmentId: string }

type Row = Omit<GateView, 'lease'> & {
  initializer: string | null
  serial: string | null
  until: number | null
  used: boolean
}

/** Looks at a cluster for one of its servers. @returns undefined if it was taken off the roll */
export async function selectGate(hot: Sql, asker: Asker): Promise<GateView | undefined> {
  const { clusterId, deviceId, enrollmentId } = asker
  const [row] = await hot<Row[]>`
    select c.state, c.datastore_kind as datastore, c.ca_hash is not null as "caHashKnown",
      c.initializer_device_id as initializer, h.serial, extract(epoch from c.initializer_until)::float8 as until,
      c.initializer_device_id is not null and exists (
        select from enrollments e
        where e.device_id = c.initializer_device_id and e.cluster_id = c.id and e.redeemed_at is not null) as used,
      case when c.state in ('virgin', 'initializing') then array(
        select l.enrollment_id from datastore_logins l
        where l.cluster_id = c.id and l.fenced_at is null and l.dropped_at is null and l.enrollment_id <> ${enrollmentId}
      ) else '{}' end as open,
      case when c.state in ('virgin', 'initializing') and c.initializer_device_id is null then exists (
        select from enrollments e where e.cluster_id = c.id and e.role = 'server' and e.ended_at is null
          and e.joined_at is not null and e.observed and e.device_id <> ${deviceId}
      ) else false end as begun,
      case when c.state <> 'up' or c.datastore_kind <> 'embedded-etcd' then 'none' else (
        select case when e.redeemed_at is not null then 'none'
          when not exists (
            select from enrollments o where o.cluster_id = e.cluster_id and o.role = 'server' and o.ended_at is null
              and o.joined_at is not null and o.device_id <> e.device_id) then 'none'
          when exists (
            select from tasks t where t.cluster_id = e.cluster_id and t.verb = 'node-delete' and t.subject = e.hostname
              and t.enrollment_id = e.id and t.done_at is null) then 'leaving'
          when exists (
            select from tasks t where t.cluster_id = e.cluster_id and t.verb = 'node-delete' and t.subject = e.hostname
              and t.enrollment_id = e.id) then 'none'
          when exists (
            select from enrollments o where o.device_id = e.device_id and o.cluster_id = e.cluster_id and o.role = 'server'
              and o.redeemed_at is not null and o.id <> e.id) then 'member'
          else 'none' end
        from enrollments e where e.id = ${enrollmentId}) end as former
    from clusters c left join devices h on h.id = c.initializer_device_id
    where c.id = ${clusterId} and c.deleted_at is null`
  if (!row) return undefined
  const { initializer, serial, until, used, ...view } = row
  const lease =
    initializer === null ? null : { deviceId: initializer, serial: serial ?? initializer, until: until ?? 0, used }
  return { ...view, lease }
}

/**
 * Takes the lease, or renews one's own, if it is still held as seen and nobody's time still runs. What the former holder said of the CA
 * goes with its turn.
 * @returns whether it is the asker's now
 */
export async function takeLease(hot: Sql, asker: Asker, seen: string | null, now: number): Promise<boolean> {
  const { clusterId, deviceId } = asker
  const rows = await hot`
    update clusters set initializer_device_id = ${deviceId}, initializer_until = to_timestamp(${now + leaseSeconds}),
      state = 'initializing', stuck_reason = null,
      ca_hash = case when ca_hash_from = initializer_device_id and initializer_device_id <> ${deviceId} then null else ca_hash end,
      ca_hash_from = case when ca_hash_from = initializer_device_id and initializer_device_id <> ${deviceId} then null else ca_hash_from end,
      state_since = case when state = 'initializing' then state_since else to_timestamp(${now}) end,
      version = version + case when state = 'initializing' and initializer_device_id = ${deviceId} then 0 else 1 end,
      updated_at = to_timestamp(${now})
    where id = ${clusterId} and deleted_at is null
      and (state in ('virgin', 'initializing') or (state = 'stuck' and ca_hash is null and initializer_device_id = ${deviceId}))
      and initializer_device_id is not distinct from ${seen}
      and (initializer_device_id is null or initializer_device_id = ${deviceId} or initializer_until <= to_timestamp(${now}))
    returning 1`
  return rows.length > 0
}

/**
 * Stops a cluster that is not up.
 * @param lost the holder of a lease that ran out: the cluster stops only if it is still that one's; null for any other reason
 * @returns its name if this call did it
 */
export async function stopCluster(
  tx: Drizzle,
  clusterId: string,
  stop: { reason: string; lost: string | null; now: number },
): Promise<string | undefined> {
  const at = date(stop.now)
  const [row] = await tx
    .update(clusters)
    .set({
      state: 'stuck',
      stuckReason: stop.reason,
      stateSince: at,
      version: sql`${clusters.version} + 1`,
      updatedAt: at,
    })
    .where(
      and(
        eq(clusters.id, clusterId),
        inArray(clusters.state, ['virgin', 'initializing']),
        stop.lost === null
          ? undefined
          : and(eq(clusters.initializerDeviceId, stop.lost), lte(clusters.initializerUntil, at)),
      ),
    )
    .returning({ name: clusters.name })
  return row?.name
}

/** Notes what a managed cluster's bootstrap row was just read to be. */
export async function noteBootstrap(hot: Sql, clusterId: string, state: BootstrapState): Promise<void> {
  await hot`update clusters set bootstrap = ${state} where id = ${clusterId} and bootstrap is distinct from ${state}`
}
