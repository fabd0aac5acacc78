import type { Sql } from 'postgres'

/** Days that history is kept once it is over; 0 = for ever. */
export type Keep = Readonly<{ events: number; audit: number }>

/** Devices that one pass looks at, and rows that it deletes of a table, at most. */
const devices = 100
const batch = 5_000

/** Any number but the sweep's; all replicas name the same one. */
const lock = 7_104_224

/**
 * Events have no index by time, which each claim, report and line of an import would pay for: the roll is walked by device instead, a few at each pass, and
 * each device's events are read by their key. What an enrollment says is asked for by a value: of an `exists` the planner would make a hash of all enrollments.
 */
export const forgetEvents = `
with turn as materialized (
  select id, state, state_since from devices where id > $1 order by id limit ${devices}
), past as materialized (
  select v.device_id, v.id from turn d cross join lateral (
    select v.device_id, v.id from events v
    where v.device_id = d.id and v.at < to_timestamp($2::float8) and (
      (d.state in ('revoked', 'retired') and d.state_since < to_timestamp($2::float8))
      or (select e.ended_at from enrollments e where e.id = v.enrollment_id) < to_timestamp($2::float8))
    offset 0) v
  limit ${batch}
), gone as (
  delete from events v using past where v.device_id = past.device_id and v.id = past.id returning 1
)
select (select max(id) from turn) as last, (select count(*)::int from turn) as seen, (select count(*)::int from gone) as rows`

/** Ids are in order of time, so the oldest rows stand first, and no more than these are looked at. */
export const forgetAudit = `
delete from audit where id in (
  select id from (select id, at from audit order by id limit ${batch}) oldest where at < to_timestamp($1::float8))`

/**
 * Deletes history that is over and older than an admin keeps it, a small batch a pass. One replica at a time does it.
 * - events of a device that was revoked or retired that long ago, and of an enrollment that ended that long ago
 * - the audit
 * @param after the device behind which this pass begins: '' at first, then what the pass before returned
 */
export async function forget(
  sql: Sql,
  now: number,
  keep: Keep,
  after: string,
): Promise<{ rows: number; after: string }> {
  const before = (days: number) => now - days * 86_400
  return sql.begin(async (tx) => {
    const [turn] = await tx<{ ok: boolean }[]>`select pg_try_advisory_xact_lock(${lock}) as ok`
    if (!turn?.ok) return { rows: 0, after }
    const audit = keep.audit === 0 ? 0 : (await tx.unsafe(forgetAudit, [before(keep.audit)])).count
    if (keep.events === 0) return { rows: audit, after }
    const [pass] = await tx.unsafe<{ last: string | null; seen: number; rows: number }[]>(forgetEvents, [
      after,
      before(keep.events),
    ])
    const { last = null, seen = 0, rows = 0 } = pass ?? {}
    // A full batch may have left some; behind the last device the walk begins anew.
    const next = rows >= batch ? after : seen < devices ? '' : (last ?? '')
    return { rows: audit + rows, after: next }
  })
}
