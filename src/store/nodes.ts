import { sql as raw } from 'drizzle-orm'
import type { Sql } from 'postgres'
import type { EnrolledNode } from '../roll/node-owner.ts'
import type { KnownNode, NodeMove } from '../roll/sighting.ts'
import type { Drizzle } from './database.ts'

/** What the roll knows of the Nodes of a cluster. */
export type ClusterNodes = { known: KnownNode[]; enrolled: EnrolledNode[]; observedAt: number | null }

/** A Node, and whose it is. */
export type ClusterNode = KnownNode & { clusterId: string }

type EnrolledRow = EnrolledNode & { clusterId: string }

// A device that reports says when it starts K3s; one whose reports are lost has had the time to after a quarter of an hour.
const enrolled = `
select e.cluster_id as "clusterId", e.id as "enrollmentId", e.device_id as "deviceId", e.hostname, e.observed,
  e.ready_at is not null as ready, e.joined_at is not null as joined, e.last_step as "lastStep", e.last_result as "lastResult",
  e.redeemed_at is not null as redeemed,
  case when e.observed and e.joined_at is null then exists (
    select from devices d where d.id = e.device_id and d.failure is not null) else false end as alarmed,
  case when e.last_step in ('k3s.join', 'k3s.ready') then extract(epoch from e.last_step_at)::float8
    else extract(epoch from e.created_at)::float8 + 900 end as "startedAt"
from enrollments e where e.cluster_id = any($1::text[]) and e.ended_at is null`

const known = `
select cluster_id as "clusterId", name, device_id as "deviceId", enrollment_id as "enrollmentId", source, ready, version,
  extract(epoch from ready_since)::float8 as "readySince", extract(epoch from first_seen_at)::float8 as "firstSeenAt",
  extract(epoch from seen_at)::float8 as "seenAt", extract(epoch from gone_at)::float8 as "goneAt"
from nodes where cluster_id = any($1::text[])`

const observed = `
select id, extract(epoch from observed_at)::float8 as "observedAt" from clusters where id = any($1::text[])`

type Ask = <T extends object>(text: string) => Promise<readonly T[]>

/** Reads what is known of some clusters' Nodes, and what may explain new ones. A cluster that is not there has no entry. */
export function selectNodes(sql: Sql, clusterIds: readonly string[]): Promise<Map<string, ClusterNodes>> {
  return collect((text) => sql.unsafe(text, [clusterIds as never], { prepare: true }) as never)
}

/** The same of one cluster, whose Nodes nobody else writes until the transaction ends. */
export async function lockNodes(tx: Drizzle, clusterId: string): Promise<ClusterNodes | undefined> {
  await tx.execute(raw`select pg_advisory_xact_lock(hashtextextended(${`nodes/${clusterId}`}, 0))`)
  const all = await collect((text) => {
    const [before = '', after = ''] = text.split('$1')
    return tx.execute(raw`${raw.raw(before)}${raw.param([clusterId])}${raw.raw(after)}`) as never
  })
  return all.get(clusterId)
}

async function collect(ask: Ask): Promise<Map<string, ClusterNodes>> {
  const [clusters, nodes, live] = await Promise.all([
    ask<{ id: string; observedAt: number | null }>(observed),
    ask<ClusterNode>(known),
    ask<EnrolledRow>(enrolled),
  ])
  const all = new Map<string, ClusterNodes>()
  for (const { id, observedAt } of clusters) all.set(id, { known: [], enrolled: [], observedAt })
  for (const { clusterId, ...node } of nodes) all.get(clusterId)?.known.push(node)
  for (const { clusterId, ...one } of live) all.get(clusterId)?.enrolled.push(one)
  return all
}

/** Notes that clusters were seen; no change of theirs, so their ETag stays. */
export async function touchClusters(sql: Sql, clusterIds: readonly string[], at: number): Promise<void> {
  await sql`
    update clusters set observed_at = to_timestamp(${at})
    where id = any(${clusterIds as string[]}::text[]) and (observed_at is null or observed_at < to_timestamp(${at}))`
}

/** Writes Nodes as they are now seen, one statement for those of many clusters. */
export async function upsertNodes(tx: Drizzle, rows: readonly ClusterNode[]): Promise<void> {
  if (rows.length === 0) return
  await tx.execute(raw`
    insert into nodes (cluster_id, name, device_id, enrollment_id, source, ready, ready_since, version, first_seen_at, seen_at, gone_at)
    select "clusterId", name, "deviceId", "enrollmentId", source, ready, to_timestamp("readySince"), version,
      to_timestamp("firstSeenAt"), to_timestamp("seenAt"), to_timestamp("goneAt")
    from json_to_recordset(${JSON.stringify(rows)}::text::json) as i("clusterId" text, name text, "deviceId" text, "enrollmentId" text,
      source text, ready bool, "readySince" float8, version text, "firstSeenAt" float8, "seenAt" float8, "goneAt" float8)
    order by "clusterId", name
    on conflict (cluster_id, name) do update set device_id = excluded.device_id, enrollment_id = excluded.enrollment_id,
      source = excluded.source, ready = excluded.ready, ready_since = excluded.ready_since, version = excluded.version,
      first_seen_at = excluded.first_seen_at, seen_at = excluded.seen_at, gone_at = excluded.gone_at
    where nodes.seen_at <= excluded.seen_at`)
}

/** A live enrollment and its device, both locked, whose Node was seen. */
export type SeenDevice = {
  enrollment_id: string
  device_id: string
  state: string
  observed: boolean
  joined: boolean
  ready: boolean
  document_sealed: Uint8Array | null
  document_shared: Uint8Array | null
  /** An agent's join token that is still to be deleted */
  token_id: string | null
}

/** Devices first and in one order, as everybody locks them. */
export async function lockSeenDevices(tx: Drizzle, moves: readonly NodeMove[]): Promise<SeenDevice[]> {
  const enrollments = raw.param(moves.map((move) => move.enrollmentId))
  const devices = raw.param(moves.map((move) => move.deviceId))
  await tx.execute(raw`select 1 from devices where id = any(${devices}::text[]) order by id for update`)
  const rows = await tx.execute(raw`
    select e.id as enrollment_id, e.device_id, d.state, e.observed, e.joined_at is not null as joined,
      e.ready_at is not null as ready, e.document_sealed,
      (select p.packed from shared_parts p where p.hash = e.document_shared) as document_shared,
      case when e.join_deleted_at is null then e.join_token_id end as token_id
    from enrollments e join devices d on d.id = e.device_id
    where e.id = any(${enrollments}::text[]) and e.ended_at is null order by e.id for update of e`)
  return rows as unknown as SeenDevice[]
}

/** What becomes of a device whose Node was seen. */
export type SeenChange = {
  enrollment_id: string
  device_id: string
  state: string
  ready: boolean
  /** The Node is its own; otherwise it keeps what it was given to join with */
  own: boolean
  /** The copy that may outlive the document */
  redacted: string | null
}

/** Its Node proves that a device applied its document; of what it was given to join with, nothing is needed any more. */
export async function writeSeenDevices(tx: Drizzle, changes: readonly SeenChange[], at: number): Promise<void> {
  const input = raw`json_to_recordset(${JSON.stringify(changes)}::text::json) as i(enrollment_id text, device_id text, state text,
    ready bool, own bool, redacted text)`
  await tx.execute(raw`
    update enrollments e set observed = true,
      ready_at = case when i.ready then coalesce(ready_at, to_timestamp(${at})) when e.observed then ready_at end,
      applied_at = case when i.own then coalesce(applied_at, to_timestamp(${at})) else applied_at end,
      joined_at = case when i.own then coalesce(joined_at, to_timestamp(${at})) else joined_at end,
      document_sealed = case when not i.own then document_sealed end, join_sealed = case when not i.own then join_sealed end,
      document_redacted = coalesce(i.redacted, document_redacted)
    from ${input} where e.id = i.enrollment_id`)
  await tx.execute(raw`
    update devices d set state = i.state, state_since = case when d.state = i.state then d.state_since else to_timestamp(${at}) end,
      failure = case when i.own or d.state = 'failed' then null else d.failure end, version = d.version + 1, updated_at = to_timestamp(${at})
    from ${input} where d.id = i.device_id and (d.state <> i.state or (i.own and d.failure is not null))`)
}

/** How many pods of a cluster do not run; no change of the cluster, so its ETag stays. */
export async function notePods(sql: Sql, clusterId: string, notRunning: number): Promise<void> {
  await sql`
    update clusters set pods_not_running = ${notRunning}
    where id = ${clusterId} and pods_not_running is distinct from ${notRunning}`
}
