import { sql } from 'drizzle-orm'
import type { Drizzle } from './database.ts'
import { executePrepared } from './prepared.ts'

/** A line that was read and is well formed, with the roll's own spelling of what is written; what is not given is undefined. */
export type StagedLine = {
  line: number
  /** Lines of one number are planned together, if the roll knows them. */
  batch: number
  /** Number of the `StagedPlace` */
  place: number
  /** Of the device that it makes, if it makes one */
  id: string
  serial: string
  serial_key: string
  thumbprint?: string | undefined
  jwk?: Record<string, string> | null | undefined
  /** The one that is given, else what follows from the serial */
  hostname: string
  hostname_given: boolean
  uuid?: string | undefined
  note?: string | undefined
  labels?: Record<string, string> | undefined
  vars?: Record<string, unknown> | undefined
  macs?: readonly string[] | undefined
}

/** Where lines say that their devices belong: few, however long the file, and each is judged once. */
export type StagedPlace = {
  id: number
  profile?: string | undefined
  cluster?: string | undefined
  role?: string | undefined
  min_assurance?: string | undefined
}

// Typed columns, so that what Postgres has to take apart is taken apart while the file still comes, and once.
const columns =
  sql.raw(`line int, batch int, place int, id text, serial text, serial_key text, thumbprint text, jwk jsonb, hostname text,
  hostname_given bool, uuid text, note text, labels jsonb, vars jsonb, macs text[]`)
const placeColumns = sql.raw('id int, profile text, cluster text, role text, min_assurance text')
const verdictColumns = sql.raw('profile_id text, cluster_id text, path text, reason text')

/** What lines change of devices on the roll: the columns that they leave them with, and what is told of it. */
export const changes =
  sql.raw(`line int, id text, serial text, profile_id text, cluster_id text, role text, hostname text, hostname_given bool, uuid text,
  note text, labels jsonb, vars jsonb, macs text[], min_assurance text, version int, rename bool, old_hostname text, thumbprint text, jwk jsonb,
  detail jsonb`)

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
  await tx.execute(sql`create temp table import_lines (${columns}, primary key (line)) on commit drop`)
  await tx.execute(
    sql`create temp table import_places (${placeColumns}, ${verdictColumns}, primary key (id)) on commit drop`,
  )
  await tx.execute(sql`
    create temp table import_known (line int primary key, batch int, device_id text, same bool) on commit drop`)
  await tx.execute(sql`create temp table import_changes (${changes}, primary key (line)) on commit drop`)
  return true
}

// Short names, since they are written, sent and read for each line.
const sent = sql.raw(
  'l int, b int, p int, i text, s text, k text, t text, j jsonb, h text, g bool, u text, n text, a jsonb, v jsonb, m text[]',
)

/** A line as `stageLines` sends it. */
export function stagedText(line: StagedLine): string {
  return JSON.stringify({
    l: line.line,
    b: line.batch,
    p: line.place,
    i: line.id,
    s: line.serial,
    k: line.serial_key,
    t: line.thumbprint,
    j: line.jwk,
    h: line.hostname === line.serial_key ? undefined : line.hostname,
    g: line.hostname_given,
    u: line.uuid,
    n: line.note,
    a: line.labels,
    v: line.vars,
    m: line.macs,
  })
}

/** @param lines from `stagedText` */
export async function stageLines(tx: Drizzle, lines: readonly string[]): Promise<void> {
  await executePrepared(
    tx,
    sql`
    insert into import_lines select l, b, p, i, s, k, t, j, coalesce(h, k), g, u, n, a, v, m
    from json_to_recordset(${`[${lines.join()}]`}::text::json) as i(${sent})`,
  )
}

export async function stagePlaces(tx: Drizzle, places: readonly StagedPlace[]): Promise<void> {
  if (places.length === 0) return
  await executePrepared(
    tx,
    sql`
    insert into import_places (id, profile, cluster, role, min_assurance)
    select * from json_to_recordset(${JSON.stringify(places)}::text::json) as i(${placeColumns})`,
  )
}

/** So many of them as are shown, in the order of their lines, and how many there are. */
export type Shown<T> = { rows: T[]; total: number }

export function shownOf<T extends { total: number }>(rows: T[]): Shown<T> {
  return { rows, total: rows[0]?.total ?? 0 }
}

export type Repeat = { line: number; serial: string; first: number; total: number }

/** Takes out the later lines of a serial or a key that stands in the file twice. */
export async function takeRepeats(
  tx: Drizzle,
  what: 'serial_key' | 'thumbprint',
  limit: number,
): Promise<Shown<Repeat>> {
  const column = sql.raw(what)
  const rows = await tx.execute<Repeat>(sql`
    with repeated as (
      select ${column}, min(line) as first from import_lines where ${column} is not null group by 1 having count(*) > 1
    ), gone as (
      delete from import_lines l using repeated r where l.${column} = r.${column} and l.line > r.first
      returning l.line, l.serial, r.first
    )
    select *, (count(*) over ())::int as total from gone order by line limit ${limit}`)
  return shownOf(rows)
}

export type PlaceRow = {
  id: number
  profile: string | null
  cluster: string | null
  role: string | null
  min_assurance: string | null
}

/** The next places behind `after`, not more than `limit`. */
export async function nextPlaces(tx: Drizzle, after: number, limit: number): Promise<PlaceRow[]> {
  return tx.execute<PlaceRow>(sql`
    select id, profile, cluster, role, min_assurance from import_places where id > ${after} order by id limit ${limit}`)
}

/** What a place means: ids of what it names, where there is such, and why no new device may go there. */
export type Verdict = {
  id: number
  profile_id: string | null
  cluster_id: string | null
  path: string | null
  reason: string | null
}

export async function judgePlaces(tx: Drizzle, verdicts: readonly Verdict[]): Promise<void> {
  await tx.execute(sql`
    update import_places p set profile_id = v.profile_id, cluster_id = v.cluster_id, path = v.path, reason = v.reason
    from json_to_recordset(${JSON.stringify(verdicts)}::text::json) as v(id int, ${verdictColumns})
    where p.id = v.id`)
}

export type Misplaced = { line: number; serial: string; path: string | null; reason: string; total: number }

/** New devices that may not go where their lines put them. */
export async function misplacedLines(tx: Drizzle, limit: number): Promise<Shown<Misplaced>> {
  const rows = await tx.execute<Misplaced>(sql`
    select l.line, l.serial, p.path, p.reason, (count(*) over ())::int as total
    from import_lines l join import_places p on p.id = l.place
    where p.reason is not null and not exists (select from import_known k where k.line = l.line)
    order by l.line limit ${limit}`)
  return shownOf(rows)
}
