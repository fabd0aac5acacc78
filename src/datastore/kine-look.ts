import { type BootstrapName, mostBootstrapBytes } from '../k3s/bootstrap.ts'
import { leasePrefix, nodePrefix } from '../k3s/node-record.ts'
import type { KineQuery } from './guard.ts'

/** Rows that one look takes: K3s' own limits are far below. */
export const mostRows = 10_001
/** Bytes of one value: Kubernetes holds Nodes below 1.5 MB, and real ones are about 20,000. */
export const mostValueBytes = mostBootstrapBytes
/** Bytes of all values that one look brings along. */
const mostLookBytes = 4 * 1_024 * 1_024
/** Bytes of a key: a Node's name has 253 at most. */
const mostNameBytes = 300
/**
 * Rows of news that one look takes, and bytes of each of their values: together as much as a list brings along. K3s' Nodes are about 20,000 bytes long; where there is
 * more, rows are listed.
 */
export const mostNews = 128
const mostNewsBytes = mostLookBytes / mostNews

/** A row of a look. Ids are decimal text: they may be any 64-bit number. */
export type LookRow = {
  name: string
  id: string
  deleted: number
  size: number | null
  /** In base64; null where the row is known already, is too large, or has no room in this look */
  value: string | null
}

/**
 * Lists the newest row of each Node, of each Node's Lease and of the bootstrap key. Values come only of rows that are not known yet, and of
 * Leases at the first look alone: after it their ids say enough.
 *
 * It walks the index from name to name, in three places at once, so that it costs a few microseconds a name however many old rows wait for
 * compaction, and nothing can be missed. It names the table once, since planning, with all of its indexes, costs more than reading.
 * @param known ids of rows whose values are not needed again; none at the first look
 */
export function listQuery(bootstrap: BootstrapName, known: readonly string[]): KineQuery {
  const places = [
    [nodePrefix, end(nodePrefix)],
    [leasePrefix, end(leasePrefix)],
    [bootstrap.slice(0, -1), `${bootstrap}!`],
  ].map(([from, to]) => `('${from}'::text, '${to}'::text)`)
  const isWanted = known.length === 0 ? 'true' : `k.${isNew(known)} and not k.name like '${leasePrefix}%'`
  return {
    columns,
    text: (table) => `
with recursive newest as (
  select from_name collate pg_catalog."C" as name, to_name, null::int8 as id, null::int4 as deleted, null::int4 as size, null::bytea as value from (values ${places.join()}) p(from_name, to_name)
  union all
  select k.* from newest n, lateral (
    select k.name::text collate pg_catalog."C", n.to_name, k.id::int8, k.deleted::int4, octet_length(k.value),
      case when k.deleted = 0 and octet_length(k.value) <= ${mostValueBytes} and ${isWanted} then k.value end
    from only ${table} k where k.name > n.name and k.name < n.to_name and octet_length(k.name) <= ${mostNameBytes} order by k.name, k.id desc limit 1) k
)
select name, id, deleted, size, case when sum(octet_length(value)) over (order by name) <= ${mostLookBytes} then encode(value, 'base64') end
from (select * from newest where id is not null limit ${mostRows}) n`,
  }
}

/** Where news begin: all ids from `from` on, which may be committed late; `anchor` is the highest one that was seen. */
export type Since = { from: string; anchor: string }

/**
 * The rows of Nodes and of the bootstrap key since an earlier look, and of Leases since the last one, oldest first. To plan it and to read the table's
 * end costs half of what listing does. CASE, since the planner takes that as it is, and no index is searched but that of the ids.
 */
export function newsQuery(bootstrap: BootstrapName, known: readonly string[], { from, anchor }: Since): KineQuery {
  const recent = known.filter((id) => BigInt(id) >= BigInt(from))
  const begins = (prefix: string) => `starts_with(name, '${prefix}')`
  const isWanted = [
    'deleted = 0',
    `octet_length(value) <= ${mostNewsBytes}`,
    `not ${begins(leasePrefix)}`,
    ...(recent.length > 0 ? [isNew(recent)] : []),
  ]
  return {
    columns,
    text: (table) => `
select name::text, id::int8, deleted::int4, octet_length(value), case when ${isWanted.join(' and ')} then encode(value, 'base64') end
from only ${table} where id >= ${bigint(from)} and case
when octet_length(name) > ${mostNameBytes} then false
when ${begins(nodePrefix)} then true
when ${begins(leasePrefix)} then id >= ${bigint(anchor)}
else name = '${bootstrap}' end
order by kine.id limit ${mostNews}`,
  }
}

const columns = 'name text, id int8, deleted int4, size int4, value text'

const isNew = (known: readonly string[]) => `id <> all ('{${known.map(integer).join()}}'::bigint[])`

const bigint = (id: string) => `'${integer(id)}'::bigint`

/** Ids are Postgres' own words of numbers; nothing else ever gets into a statement. */
function integer(id: string): string {
  if (!/^-?\d{1,19}$/.test(id)) throw new Error('an id is no number')
  return id
}

/** The first text behind all that begin with this one, byte by byte. */
const end = (prefix: string): string =>
  prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)
