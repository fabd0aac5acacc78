import type { Sql } from 'postgres'

/** Rows that one pass deletes from a table at most: a pass is short, and takes few locks. */
const batch = 5_000

/** Any number; all replicas name the same one. */
const lock = 7_104_223

/**
 * Deletes what no clock can need any more, a small batch a table. One replica at a time does it.
 * - nonces: one of 420 s and 30 s ahead is refused by its age, so 15 minutes are more than enough
 * - answers kept for an Idempotency-Key: 24 h (PROTOCOL.md, "Admin API")
 * - done tasks: 7 days, for whoever asks what became of them
 * - Nodes that are gone: 30 days; strangers, of which a hostile cluster makes up any number, a day
 * - alarms: they only say whether one was raised within the last hour
 * @returns rows deleted
 */
export async function sweep(sql: Sql, now: number): Promise<number> {
  return sql.begin(async (tx) => {
    const [turn] = await tx<{ ok: boolean }[]>`select pg_try_advisory_xact_lock(${lock}) as ok`
    if (!turn?.ok) return 0
    const nonces = await tx`
      delete from redeemed_nonces where nonce in (
        select nonce from redeemed_nonces where redeemed_at < to_timestamp(${now - 900}) order by redeemed_at limit ${batch})`
    const answers = await tx`
      delete from idempotency where ctid in (
        select ctid from idempotency where created_at < to_timestamp(${now - 86_400}) order by created_at limit ${batch})`
    const alarms = await tx`delete from alarms where at < to_timestamp(${now - 7_200})`
    const tasks = await tx`
      delete from tasks where id in (
        select id from tasks where done_at < to_timestamp(${now - 7 * 86_400}) order by done_at limit ${batch})`
    const nodes = await tx`
      delete from nodes where gone_at < to_timestamp(${now - 30 * 86_400})
        or (device_id is null and gone_at < to_timestamp(${now - 86_400}))`
    return [nonces, answers, alarms, tasks, nodes].reduce((rows, { count }) => rows + count, 0)
  })
}
