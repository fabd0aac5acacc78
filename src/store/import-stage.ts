import { sql } from 'drizzle-orm'
import type { Columns } from '../roll/import-plan.ts'
import type { Drizzle } from './database.ts'
import { executePrepared } from './prepared.ts'

/** A line that was read and is well formed, with the roll's own spelling of what is written; what is not given is undefined. */
export type StagedLine = {
  line: number
  serial: string
  serial_key: string
  thumbprint?: string | undefined
  jwk?: Record<string, string> | null | undefined
  profile?: string | undefined
  cluster?: string | undefined
  role?: string | undefined
  hostname?: string | undefined
  uuid?: string | undefined
  note?: string | undefined
  labels?: Record<string, string> | undefined
  vars?: Record<string, unknown> | undefined
  macs?: readonly string[] | undefined
  min_assurance?: string | undefined
}

/** A device as it is on the roll, in the columns' own names; times are not of interest here. */
export type KnownDevice = Columns & { state: string; version: number }

/** A staged line beside what the roll knows of its serial and its key. */
export type LineRow = {
  line: number
  serial: string
  profile: string | null
  cluster: string | null
  role: string | null
  hostname: string | null
  min_assurance: string | null
  /** The key that the line gives */
  pin: string | null
  /** What else it gives; only where the serial is on the roll, since a new device gets it straight from the stage. */
  rest: Pick<StagedLine, 'uuid' | 'note' | 'labels' | 'vars' | 'macs' | 'jwk'> | null
  device: KnownDevice | null
  /** Live key of the device */
  thumbprint: string | null
  has_jwk: boolean
  /** The device that the line's key is pinned for */
  key_owner: string | null
  enrolled: boolean
  live: boolean
}

// Typed columns, so that what Postgres has to take apart is taken apart while the file still comes, and once.
const columns = `line int, serial text, serial_key text, thumbprint text, jwk jsonb, profile text, cluster text, role text, hostname text,
  uuid text, note text, labels jsonb, vars jsonb, macs text[], min_assurance text`

/**
 * A place for the lines, of this transaction alone. An import reads at the sender's pace and must hold no device's row meanwhile.
 * @returns false while another import runs
 */
export async function openStage(tx: Drizzle): Promise<boolean> {
  const [row] = await tx.execute<{ ok: boolean }>(
    sql`select pg_try_advisory_xact_lock(hashtextextended('rollcall.import', 0)) as ok`,
  )
  if (!row?.ok) return false
  // Enough to look for repeats among 100,000 lines without files.
  await tx.execute(sql`set local work_mem = '16MB'`)
  await tx.execute(sql`create temp table import_lines (${sql.raw(columns)}, primary key (line)) on commit drop`)
  await tx.execute(sql`
    create temp table import_names (cluster_id text, hostname text, primary key (cluster_id, hostname)) on commit drop`)
  return true
}

/** @param lines each the JSON of a `StagedLine` */
export async function stageLines(tx: Drizzle, lines: readonly string[]): Promise<void> {
  await executePrepared(
    tx,
    sql`
    insert into import_lines select * from json_to_recordset(${`[${lines.join()}]`}::text::json) as i(${sql.raw(columns)})`,
  )
}

export type Repeat = { line: number; serial: string; first: number }

/** Takes out the later lines of a serial or a key that stands in the file twice. */
export async function takeRepeats(tx: Drizzle, what: 'serial_key' | 'thumbprint'): Promise<Repeat[]> {
  const column = sql.raw(what)
  return tx.execute<Repeat>(sql`
    with repeated as (
      select ${column}, min(line) as first from import_lines where ${column} is not null group by 1 having count(*) > 1
    )
    delete from import_lines l using repeated r where l.${column} = r.${column} and l.line > r.first
    returning l.line, l.serial, r.first`)
}

// Lateral, each with its limit: looked up line by line in an index, whatever Postgres believes of the size of a roll that grows under it.
/** The staged lines behind `after`, up to and with `last`, in their order, each beside what the roll knows. */
export async function nextLines(tx: Drizzle, after: number, last: number): Promise<LineRow[]> {
  return tx.execute<LineRow>(sql`
    select l.line, l.serial, l.profile, l.cluster, l.role, l.hostname, l.min_assurance, l.thumbprint as pin, d.device, d.thumbprint,
      case when d.device is not null then json_build_object(
        'uuid', l.uuid, 'note', l.note, 'labels', l.labels, 'vars', l.vars, 'macs', l.macs, 'jwk', l.jwk) end as rest,
      coalesce(d.has_jwk, false) as has_jwk, o.device_id as key_owner,
      coalesce(d.enrolled, false) as enrolled, coalesce(d.live, false) as live
    from import_lines l
    left join lateral (
      select to_json(d) as device, i.thumbprint, i.jwk is not null as has_jwk,
        exists (select 1 from enrollments e where e.device_id = d.id) as enrolled,
        exists (select 1 from enrollments e where e.device_id = d.id and e.ended_at is null) as live
      from devices d left join identities i on i.device_id = d.id and i.ended_at is null
      where d.serial_key = l.serial_key limit 1
    ) d on true
    left join lateral (
      select device_id from identities where thumbprint = l.thumbprint and ended_at is null limit 1
    ) o on true
    where l.line > ${after} and l.line <= ${last}
    order by l.line`)
}
