import type { Sql } from 'postgres'
import type { Assurance } from '../documents/profile.ts'
import type { PublicJwk } from '../identity/jwk.ts'
import type { Datastore } from '../k3s/cluster.ts'

/** The live enrollment that a join ticket belongs to. */
export type TicketRow = {
  enrollment_id: string
  device_id: string
  serial: string
  cluster_id: string
  cluster: string
  datastore: Datastore['kind']
  hostname: string
  role: 'server' | 'agent'
  assurance: Assurance
  thumbprint: string | null
  join_ttl: number
  expired: boolean
  joined: boolean
  redeemed_by: string | null
}

/** Finds the live enrollment of a ticket, by hash. */
export async function selectTicket(sql: Sql, joinHash: Uint8Array, now: number): Promise<TicketRow | undefined> {
  const [row] = await sql<TicketRow[]>`
    select e.id as enrollment_id, e.device_id, d.serial, e.cluster_id, c.name as cluster, c.datastore_kind as datastore,
      e.hostname, e.role, e.assurance, e.thumbprint,
      (r.spec->>'join_ttl')::int as join_ttl, e.join_expires_at <= to_timestamp(${now}) as expired,
      e.joined_at is not null as joined, e.redeemed_by
    from enrollments e
    join devices d on d.id = e.device_id
    join clusters c on c.id = e.cluster_id
    join profile_revisions r on r.profile_id = e.profile_id and r.revision = e.profile_revision
    where e.join_hash = ${joinHash} and e.ended_at is null`
  return row
}

/** The key that is pinned for a device, by thumbprint; undefined where only the thumbprint is pinned. */
export async function selectPinnedKey(sql: Sql, deviceId: string, thumbprint: string): Promise<PublicJwk | undefined> {
  const [row] = await sql<{ jwk: PublicJwk | null }[]>`
    select jwk from identities where device_id = ${deviceId} and thumbprint = ${thumbprint} and ended_at is null`
  return row?.jwk ?? undefined
}

/**
 * Uses a proof's nonce, once: the primary key decides.
 * @param stale the nonce may only serve a proof that used it before
 * @returns false when another proof used it, or a stale nonce was never used
 */
export async function useProofNonce(
  sql: Sql,
  nonce: string,
  proofHash: Uint8Array,
  now: number,
  stale: boolean,
): Promise<boolean> {
  const [row] = await sql<{ ok: boolean }[]>`
    with new as (
      insert into redeemed_nonces (nonce, used_in, redeemed_at)
      select ${nonce}, ${proofHash}, to_timestamp(${now}) where not ${stale}
      on conflict (nonce) do nothing returning true as ok
    )
    select coalesce((select ok from new), (select used_in = ${proofHash} from redeemed_nonces where nonce = ${nonce}), false) as ok`
  return row?.ok ?? false
}

export type MarkInput = {
  enrollmentId: string
  deviceId: string
  clusterId: string
  /** `proof`, or the hash of the Rollcall-Retry-Key */
  by: string
  now: number
  /** Seconds that a ticket lives on from now */
  ttl: number
}

export type MarkRow = { outcome: 'marked' | 'taken' | 'shut'; server_token_sealed: Uint8Array; ca_hash: string | null }

/**
 * Marks a ticket redeemed if its server may start K3s at this very moment: the cluster is up, or it is this one's turn, and on a managed
 * datastore its login was not fenced meanwhile.
 * @returns undefined when the enrollment ended meanwhile
 */
export async function markRedeemed(sql: Sql, input: MarkInput): Promise<MarkRow | undefined> {
  const { enrollmentId, deviceId, clusterId, by, now, ttl } = input
  const [row] = await sql<MarkRow[]>`
    with ticket as (
      select id, redeemed_by is not null and redeemed_by <> ${by} as taken, redeemed_by is null as first
      from enrollments where id = ${enrollmentId} and ended_at is null and joined_at is null for update
    ), gate as (
      select server_token_sealed, ca_hash, state = 'up' or (state = 'initializing' and initializer_device_id = ${deviceId}) as turn,
        datastore_kind = 'managed' as managed
      from clusters where id = ${clusterId} for share
    ), open as (
      select g.*, g.turn and (not g.managed or exists (
        select from datastore_logins where enrollment_id = ${enrollmentId} and fenced_at is null and dropped_at is null)) as ok
      from gate g
    ), marked as (
      update enrollments e set redeemed_by = ${by}, redeemed_at = coalesce(e.redeemed_at, to_timestamp(${now})),
        join_expires_at = greatest(e.join_expires_at, to_timestamp(${now + ttl}))
      from ticket t, open o where e.id = t.id and not t.taken and o.ok returning e.id
    ), told as (
      insert into events (device_id, enrollment_id, at, source, name, result)
      select ${deviceId}, ${enrollmentId}, to_timestamp(${now}), 'server', 'join.redeemed', 'ok'
      from ticket t, marked where t.first returning 1
    )
    select case when t.taken then 'taken' when exists (select from marked) then 'marked' else 'shut' end as outcome,
      o.server_token_sealed, o.ca_hash
    from ticket t, open o`
  return row
}

/** A server that waits keeps its ticket. */
export async function extendTicket(sql: Sql, enrollmentId: string, until: number): Promise<void> {
  await sql`
    update enrollments set join_expires_at = greatest(join_expires_at, to_timestamp(${until}))
    where id = ${enrollmentId} and ended_at is null`
}

/** A cluster's server token, sealed for `clusters/<id>/server_token`. */
export async function selectServerToken(sql: Sql, clusterId: string): Promise<Uint8Array> {
  const [row] = await sql<{ server_token_sealed: Uint8Array }[]>`
    select server_token_sealed from clusters where id = ${clusterId}`
  return (row as { server_token_sealed: Uint8Array }).server_token_sealed
}

/** Tells the timeline, once an hour, that somebody else came with a ticket that was redeemed: it was copied, or the device lost its retry key. */
export async function alarmOfSecondKey(sql: Sql, ticket: TicketRow, now: number): Promise<void> {
  await sql`
    with first as (
      insert into alarms (device_id, about, at) values (${ticket.device_id}, 'retry_key', to_timestamp(${now}))
      on conflict (device_id, about) do update set at = excluded.at where alarms.at <= excluded.at - interval '1 hour' returning 1
    )
    insert into events (device_id, enrollment_id, at, source, name, result, detail)
    select ${ticket.device_id}, ${ticket.enrollment_id}, to_timestamp(${now}), 'server', 'alarm.second_redeem', 'fail',
      jsonb_build_object('detail', 'another retry key came with a join ticket that was redeemed')
    from first`
}
