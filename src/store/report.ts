import type { Sql } from 'postgres'

/** One report, already understood. Times are Unix seconds. */
export type NewReport = {
  /** Hash of the report token, hex */
  report_hash: string
  at: number
  source: 'node' | 'cloud-init' | 'phone-home'
  name: string
  result: string | null
  detail: unknown
  /** One of our own steps: it may move the device's state. */
  step: boolean
  /** The document is applied: this is `document.applied ok` or a later step. */
  applied: boolean
  /** `k3s.ready ok` */
  ready: boolean
}

export type ReportRow = {
  n: number
  /** False: over the device's cap, dropped */
  kept: boolean
  /** Its cluster shows a Node of its name */
  observed: boolean
  enrollment_id: string
  /** Only for the report that made it applied: the copy that was wiped, for its redacted successor. */
  document_sealed: Uint8Array | null
  document_shared: Uint8Array | null
}

// One statement for all reports of a tick. Of several reports of one device, `latest` is the one that decides the state, while `summed`
// keeps what any of them said: a batch must end where the same reports one by one would end. What the cluster showed outranks them.
const insert = `
with input as (
  select i.*, to_timestamp(i.at) as time from json_to_recordset($1::text::json) as i(
    n int, report_hash text, at float8, source text, name text, result text, detail json, step bool, applied bool, ready bool)
), target as (
  select e.id, e.device_id, e.report_count, e.document_sealed, e.document_shared, e.applied_at is null as unapplied, e.observed
  from enrollments e
  where e.report_hash in (select decode(report_hash, 'hex') from input) and e.ended_at is null
    and e.report_expires_at > (select max(time) from input)
  order by e.id for update of e
), known as (
  select i.*, t.id as enrollment_id, t.device_id, t.document_sealed, t.document_shared, t.unapplied, t.observed,
    t.report_count + row_number() over (partition by t.id order by i.n) <= $2::int as kept
  from input i join enrollments e on e.report_hash = decode(i.report_hash, 'hex') join target t on t.id = e.id
), told as (
  insert into events (device_id, enrollment_id, at, source, name, result, detail)
  select device_id, enrollment_id, time, source, name, result, detail from known where kept order by n returning 1
), latest as (
  select distinct on (enrollment_id) * from known where step order by enrollment_id, n desc
), summed as (
  select enrollment_id, device_id, count(*) as reports, max(time) as time, bool_or(applied) as applied, bool_or(ready) as ready
  from known group by 1, 2
), counted as (
  update enrollments e set
    report_count = e.report_count + s.reports,
    last_step = coalesce(l.name, e.last_step), last_result = coalesce(l.result, e.last_result),
    last_detail = case when l.name is null then e.last_detail else left(l.detail->>'detail', 500) end,
    last_step_at = coalesce(l.time, e.last_step_at),
    applied_at = case when s.applied then coalesce(e.applied_at, s.time) else e.applied_at end,
    joined_at = case when s.ready then coalesce(e.joined_at, s.time) else e.joined_at end,
    ready_at = case when s.ready and not e.observed then coalesce(e.ready_at, s.time) else e.ready_at end,
    document_sealed = case when s.applied then null else e.document_sealed end
  from summed s left join latest l using (enrollment_id) where e.id = s.enrollment_id returning e.id, e.observed
), next as (
  select s.device_id, s.time, l.name, l.result, l.detail,
    case
      when s.ready and not c.observed and d.state in ('enrolled', 'installing', 'joined', 'failed') then 'ready'
      when l.result = 'fail' and d.state in ('enrolled', 'installing', 'failed') then 'failed'
      when s.applied and l.result <> 'fail' and d.state in ('enrolled', 'failed') then 'installing'
      else d.state end as state
  from summed s join counted c on c.id = s.enrollment_id join devices d on d.id = s.device_id
  left join latest l using (enrollment_id)
), moved as (
  update devices d set state = x.state, state_since = case when d.state = x.state then d.state_since else x.time end,
    version = d.version + 1, updated_at = x.time,
    failure = case when x.state = 'failed' then x.name || coalesce(': ' || nullif(left(x.detail->>'detail', 500), ''), '') end
  from next x where d.id = x.device_id
    and (d.state <> x.state or d.failure is not null and x.result = 'ok' and x.name in ('k3s.join', 'k3s.ready')) returning d.id
)
select n, kept, enrollment_id, observed, case when unapplied and applied then document_sealed end as document_sealed,
  case when unapplied and applied then (select p.packed from shared_parts p where p.hash = document_shared) end as document_shared
from known`

/**
 * Appends reports to their devices' timelines and moves states, all in one statement.
 * @param cap most events that one enrollment may append
 * @returns one row a report whose token is known and live, by its place in `reports`; no row = unknown or ended
 */
export async function insertReports(
  sql: Sql,
  reports: readonly NewReport[],
  cap: number,
): Promise<(ReportRow | undefined)[]> {
  const input = JSON.stringify(reports.map((r, n) => ({ n, ...r })))
  const rows = await sql.unsafe<ReportRow[]>(insert, [input, cap] as never[], { prepare: true })
  const results: (ReportRow | undefined)[] = reports.map(() => undefined)
  for (const row of rows) results[row.n] = row
  return results
}

/** Keeps the redacted copy of a document whose sealed copy was wiped. */
export async function keepRedacted(sql: Sql, enrollmentId: string, redacted: string): Promise<void> {
  await sql`update enrollments set document_redacted = ${redacted} where id = ${enrollmentId}`
}

/** Whether a report token is known and live. */
export async function isReportToken(sql: Sql, reportHash: string, now: number): Promise<boolean> {
  const rows = await sql`
    select 1 from enrollments where report_hash = decode(${reportHash}, 'hex') and ended_at is null
      and report_expires_at > to_timestamp(${now})`
  return rows.length > 0
}
