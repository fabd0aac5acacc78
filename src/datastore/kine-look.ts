import { bootstrapName, mostBootstrapBytes } from '../k3s/bootstrap.ts'
import { leasePrefix, nodePrefix } from '../k3s/node-record.ts'
import type { KineQuery } from './guard.ts'

/** Nodes of a cluster that are looked at; K3s' own limits are far below. */
export const mostNodes = 5_000
/** Bytes of one Node's value: Kubernetes holds it below 1.5 MB, and real ones are about 20,000. */
export const mostNodeBytes = 256 * 1_024
/** Bytes of all values that one look brings along. */
const mostLookBytes = 4 * 1_024 * 1_024
/** Bytes of a Node's name, and of a Lease (K3s: 300). */
const mostNameBytes = 253
const mostLeaseBytes = 4_096

/** A row of a look. Ids are decimal text: they may be any 64-bit number. */
export type LookRow = {
  kind: 'node' | 'bootstrap'
  name: string
  id: string
  deleted: number
  size: number | null
  /** Null where the row is known already, is too large, or has no room in this look */
  value: Uint8Array | null
  lease: string | null
  lease_value: Uint8Array | null
}

/**
 * The newest row of each Node, with the id of its Lease's, and of the bootstrap key. Values come only of rows that are not known yet.
 * It walks the index from name to name, so that it costs a few microseconds a Node however many old rows wait for compaction, and
 * nothing can be missed: ids are handed out before they are committed, and what asks for those behind the last one has to look back.
 * @param known ids of rows whose values are not needed again
 */
export function lookQuery(serverToken: string, known: readonly string[]): KineQuery {
  const ids = known.filter((id) => /^-?\d{1,19}$/.test(id))
  const unknown = (column: string) => (ids.length === 0 ? 'true' : `${column} <> all ('{${ids.join()}}'::bigint[])`)
  const from = `name < '${after(nodePrefix)}' and octet_length(name) <= ${nodePrefix.length + mostNameBytes} order by name, id desc limit 1`
  return {
    columns: 'kind text, name text, id int8, deleted int4, size int4, value bytea, lease int8, lease_value bytea',
    text: (table) => `
with recursive newest as (
  (select name, id, deleted, octet_length(value) as size from only ${table} where name >= '${nodePrefix}' and ${from})
  union all
  select next.* from newest, lateral (
    select name, id, deleted, octet_length(value) from only ${table} where name > newest.name and ${from}) next
), listed as (
  select *, ${unknown('id')} and deleted = 0 and size <= ${mostNodeBytes} as wanted from (select * from newest limit ${mostNodes + 1}) n
), weighed as (
  select *, wanted and sum(case when wanted then size end) over (order by name) <= ${mostLookBytes} as sent from listed
)
select 'node', substr(w.name, ${nodePrefix.length + 1})::text, w.id::int8, w.deleted::int4, w.size::int4,
  case when w.sent then (select k.value from only ${table} k where k.id = w.id) end,
  l.id::int8, case when w.sent and octet_length(l.value) <= ${mostLeaseBytes} then l.value end
from weighed w left join lateral (
  select k.id, k.value from only ${table} k where k.name = '${leasePrefix}' || substr(w.name, ${nodePrefix.length + 1})
  order by k.id desc limit 1) l on true
union all
(select 'bootstrap', name::text, id::int8, deleted::int4, octet_length(value)::int4,
  case when ${unknown('id')} and octet_length(value) <= ${mostBootstrapBytes} then value end, null, null
from only ${table} where name = '${bootstrapName(serverToken)}' order by id desc limit 1)`,
  }
}

/** The first text behind all that begin with this one, byte by byte. */
const after = (prefix: string): string =>
  prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)
