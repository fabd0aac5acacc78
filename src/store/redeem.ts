import type { Sql } from 'postgres'
import type { Assurance } from '../documents/profile.ts'
import type { PublicJwk } from '../identity/jwk.ts'

/** The live enrollment that a join ticket belongs to. */
export type TicketRow = {
  enrollment_id: string
  device_id: string
  serial: string
  cluster_id: string
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
    select e.id as enrollment_id, e.device_id, d.serial, e.cluster_id, e.role, e.assurance, e.thumbprint,
      (r.spec->>'join_ttl')::int as join_ttl, e.join_expires_at <= to_timestamp(${now}) as expired,
      e.joined_at is not null as joined, e.redeemed_by
    from enrollments e
    join devices d on d.id = e.device_id
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

export type RedeemInput = {
  enrollmentId: string
  deviceId: string
  clusterId: string
  /** `proof`, or the hash of the Rollcall-Retry-Key */
  by: string
  now: number
  /** Seconds that a ticket lives on while its server waits for its turn */
  ttl: number
  /** Seconds that the initializer lease holds without a renewal */
  lease: number
}

export type RedeemRow = {
  /** This server may start K3s now. */
  turn: boolean
  /** Redeemed with another retry key before. */
  taken: boolean
  cluster_state: string
  server_token_sealed: Uint8Array
}

/**
 * Redeems in one statement: takes or renews the cluster's initializer lease while its CA hash is unknown, marks the ticket used,
 * and extends it for a server whose turn it is not.
 * @returns undefined when the enrollment ended meanwhile
 */
export async function redeemTicket(sql: Sql, input: RedeemInput): Promise<RedeemRow | undefined> {
  const { enrollmentId, deviceId, clusterId, by, now, ttl, lease } = input
  const [row] = await sql<RedeemRow[]>`
    with ticket as (
      select id, redeemed_by is not null and redeemed_by <> ${by} as taken, redeemed_by is null as first
      from enrollments where id = ${enrollmentId} and ended_at is null and joined_at is null for update
    ), lease as (
      update clusters c set
        initializer_device_id = ${deviceId}, initializer_until = to_timestamp(${now + lease}),
        state = case when c.state = 'virgin' then 'initializing' else c.state end,
        version = c.version + case when c.initializer_device_id is distinct from ${deviceId} then 1 else 0 end,
        updated_at = to_timestamp(${now})
      from ticket t
      where c.id = ${clusterId} and not t.taken and c.ca_hash is null and c.state in ('virgin', 'initializing')
        and (c.initializer_device_id is null or c.initializer_device_id = ${deviceId})
      returning c.id
    ), gate as (
      select c.state as cluster_state, c.server_token_sealed,
        (exists (select 1 from lease) or (c.ca_hash is not null and c.state <> 'compromised')) as turn
      from clusters c where c.id = ${clusterId}
    ), marked as (
      update enrollments e set
        redeemed_by = case when g.turn then ${by} else e.redeemed_by end,
        redeemed_at = case when g.turn then coalesce(e.redeemed_at, to_timestamp(${now})) else e.redeemed_at end,
        join_expires_at = greatest(e.join_expires_at, to_timestamp(${now + ttl}))
      from ticket t, gate g where e.id = t.id and not t.taken returning e.id
    ), told as (
      insert into events (device_id, enrollment_id, at, source, name, result)
      select ${deviceId}, ${enrollmentId}, to_timestamp(${now}), 'server', 'join.redeemed', 'ok'
      from ticket t, gate g, marked where t.first and g.turn returning 1
    )
    select g.turn, t.taken, g.cluster_state, g.server_token_sealed from ticket t, gate g`
  return row
}
