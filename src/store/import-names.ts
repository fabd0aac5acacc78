import { sql } from 'drizzle-orm'
import type { Drizzle } from './database.ts'

// New devices that have a cluster, and devices whose hostname or cluster changes.
const seekers = sql`
  select l.line, p.cluster_id, l.hostname, l.hostname_given as given, l.serial, true as fresh
  from import_lines l join import_places p on p.id = l.place
  where p.cluster_id is not null and p.reason is null and not exists (select from import_known k where k.line = l.line)
  union all
  select line, cluster_id, hostname, hostname_given, serial, false from import_changes where rename and cluster_id is not null`

const isFree = sql`not exists (select from devices d where d.cluster_id = s.cluster_id and d.hostname = s.hostname)`

/**
 * Gives each line the hostname that it wishes for, if no device of the cluster has it or had it and no earlier line wants it. A name that
 * a device leaves stays its own until the import is over.
 * @returns how many found none
 */
export async function giveNames(tx: Drizzle): Promise<number> {
  await tx.execute(sql`
    create temp table import_names on commit drop as
    select distinct on (cluster_id, hostname) line, cluster_id, hostname from (${seekers}) s
    where ${isFree} order by cluster_id, hostname, line`)
  await tx.execute(sql`alter table import_names add primary key (line)`)
  await tx.execute(sql`
    create temp table import_nameless on commit drop as
    select * from (${seekers}) s where not exists (select from import_names n where n.line = s.line)`)
  const [row] = await tx.execute<{ n: number }>(sql`select count(*)::int as n from import_nameless`)
  if (!row?.n) return 0
  await tx.execute(sql`alter table import_nameless add primary key (line)`)
  await tx.execute(sql`create unique index on import_names (cluster_id, hostname)`)
  return row.n
}

/** `given`: it wants no other name; `fresh`: a new device. */
export type Nameless = {
  line: number
  cluster_id: string
  hostname: string
  given: boolean
  serial: string
  fresh: boolean
}

/** The next lines behind `after` whose wish was taken. */
export async function nextNameless(tx: Drizzle, after: number, limit: number): Promise<Nameless[]> {
  return tx.execute<Nameless>(sql`select * from import_nameless where line > ${after} order by line limit ${limit}`)
}

/** @returns the lines that got the other name that they ask for */
export async function giveOtherNames(
  tx: Drizzle,
  wishes: readonly Pick<Nameless, 'line' | 'cluster_id' | 'hostname'>[],
): Promise<Set<number>> {
  if (wishes.length === 0) return new Set()
  const rows = await tx.execute<{ line: number }>(sql`
    insert into import_names
    select distinct on (cluster_id, hostname) line, cluster_id, hostname
    from json_to_recordset(${JSON.stringify(wishes)}::text::json) as s(line int, cluster_id text, hostname text)
    where ${isFree} and not exists (
      select from import_names n where n.cluster_id = s.cluster_id and n.hostname = s.hostname
    )
    order by cluster_id, hostname, line returning line`)
  return new Set(rows.map((row) => row.line))
}

/** Writes the names into the changes of devices, and drops the changes of those that found none. */
export async function nameChanges(tx: Drizzle): Promise<void> {
  await tx.execute(sql`
    delete from import_changes c
    where rename and cluster_id is not null and not exists (select from import_names n where n.line = c.line)`)
  await tx.execute(sql`
    update import_changes c set hostname = n.hostname, detail = case when n.hostname is distinct from c.old_hostname then c.detail
      else jsonb_set(c.detail, '{changed}', (c.detail -> 'changed') - 'hostname') end
    from import_names n where n.line = c.line and c.rename`)
}
