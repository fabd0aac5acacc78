import { sql } from 'drizzle-orm'
import type { JoinToken } from '../roll/join-token.ts'
import type { Drizzle } from './database.ts'

/** A token that something is to be done about, its enrollment locked. */
export type DueToken = Omit<JoinToken, 'known'> & {
  enrollmentId: string
  deviceId: string
  clusterId: string
  tokenId: string
  sealed: Uint8Array | null
}

/**
 * Tokens that are in their cluster, or on their way, and whose time is over before `before`; what another replica works on is left to it.
 * One that waits to be deleted already is settled.
 */
export async function lockDueTokens(tx: Drizzle, before: number, most: number): Promise<DueToken[]> {
  const rows = await tx.execute(sql`
    select e.id as "enrollmentId", e.device_id as "deviceId", e.cluster_id as "clusterId", e.join_token_id as "tokenId",
      e.join_sealed as sealed, e.ended_at is not null as ended,
      e.joined_at is not null as joined, extract(epoch from e.created_at)::float8 as "createdAt",
      extract(epoch from e.join_expires_at)::float8 as "expiresAt", extract(epoch from e.last_step_at)::float8 as "lastStepAt",
      (r.spec->>'join_ttl')::int as ttl
    from enrollments e
    join profile_revisions r on r.profile_id = e.profile_id and r.revision = e.profile_revision
    where e.join_token_id is not null and e.join_deleted_at is null and e.join_expires_at < to_timestamp(${before})
      and not exists (select 1 from tasks t where t.cluster_id = e.cluster_id and t.verb = 'token-delete'
        and t.subject = e.join_token_id and t.done_at is null)
    order by e.join_expires_at limit ${most} for update of e skip locked`)
  return rows as unknown as DueToken[]
}

/** Gives tokens their new time (Unix seconds). */
export async function extendTokens(
  tx: Drizzle,
  tokens: readonly { enrollmentId: string; until: number }[],
): Promise<void> {
  if (tokens.length === 0) return
  await tx.execute(sql`
    update enrollments e set join_expires_at = to_timestamp(i.until)
    from json_to_recordset(${JSON.stringify(tokens)}::text::json) as i("enrollmentId" text, until float8) where e.id = i."enrollmentId"`)
}
