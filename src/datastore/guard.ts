import { ownerRole } from '../k3s/datastore-names.ts'
import type { Observer } from './observer.ts'
import { readersSchema, tamperedState } from './reader.ts'

/** What is asked of a cluster's table. `text` names it by the argument, behind FROM ONLY; both are our own words, with nothing of anybody else's in them. */
export type KineQuery = { columns: string; text: (table: string) => string }

/**
 * - `absent`: no server of the cluster has made the table yet
 * - `tampered`: the table is not what K3s makes, so nothing of it was read
 * - `late`: somebody holds the table, or the read took too long
 */
export type KineRead<Row> =
  | { kind: 'rows'; rows: Row[] }
  | { kind: 'absent' }
  | { kind: 'tampered'; what: string }
  | { kind: 'late'; what: string }

/**
 * Reads a managed cluster's `kine` table. What lies in its schema is hostile code, since its servers own it (reference/k3s.md §9): the read goes through the
 * cluster's reader (reader.ts), in a read-only transaction that is always rolled back, with the table held and checked first, and
 * nothing stays in the session for the next cluster.
 * @throws what Postgres says when it is away, full, or not set up
 */
export async function readKine<Row>(observer: Observer, clusterId: string, query: KineQuery): Promise<KineRead<Row>> {
  try {
    return { kind: 'rows', rows: (await observer.run(guarded(clusterId, query))) as Row[] }
  } catch (error) {
    return refusal(error)
  }
}

/** The guarded query alone, for who brings a read-only transaction, and limits, of its own. */
export function guarded(clusterId: string, { columns, text }: KineQuery): string {
  const owner = ownerRole(clusterId)
  const table = `${owner}.kine`
  const texts = [`lock table only ${table} in access share mode`, wrong(owner), text(table)].map(quoted)
  return `select * from ${readersSchema}.${owner}(${texts.join(', ')}) as t(${columns})`
}

/** What an error of a guarded query says of the cluster. @throws the error itself, if it says nothing of it */
export function refusal(error: unknown): { kind: 'absent' } | { kind: 'tampered' | 'late'; what: string } {
  const { code, message = '', severity } = (error ?? {}) as { code?: string; message?: string; severity?: string }
  switch (code) {
    case '42P01':
      return { kind: 'absent' }
    case tamperedState:
      return { kind: 'tampered', what: message.slice(0, 200) }
    case '42809':
      return { kind: 'tampered', what: 'kine is no table' }
    case '42501':
      return { kind: 'tampered', what: 'kine may not be read any more' }
    case '3F000':
      return { kind: 'tampered', what: 'its schema is gone' }
    case '55P03':
      return { kind: 'late', what: 'somebody holds the table locked' }
    case '57014':
    case '25P04':
      return { kind: 'late', what: 'a read took too long' }
    case 'OBSERVER_STUCK':
      return { kind: 'tampered', what: 'a read did not end when it was told to' }
    case '42883':
      return { kind: 'late', what: 'its reader is missing' }
    default:
      // Postgres ended the session, or nobody answered: that is not about this cluster.
      if (severity !== 'ERROR') throw error
      return { kind: 'late', what: `Postgres refused to read it (${code})` }
  }
}

const quoted = (text: string) => `$rollcall$${text}$rollcall$`

/** `name type`, as kine 0.9 to 0.17 make them; the types by their numbers, which nobody can take. Postgres' collations "default" and "C" are 100 and 950. */
const columns = {
  id: ['20', '23'],
  name: ['25', '1043'],
  created: ['23'],
  deleted: ['23'],
  create_revision: ['20', '23'],
  prev_revision: ['20', '23'],
  lease: ['23'],
  value: ['17'],
  old_value: ['17'],
} as const

const ordinary = Object.entries(columns)
  .map(([name, types]) => `(a.attname = '${name}' and a.atttypid in (${types.join(', ')}))`)
  .join(' or ')

/**
 * A query that says what is wrong with a table, or null. Each line is a way to have one's own code run by whoever reads: K3s makes none of them, so there is
 * nothing to weigh. The flags of pg_class stay up for a while after their cause is gone, which is its owner's loss. The planner runs immutable functions
 * of index expressions, index predicates and extended statistics by itself. Everything but those two needs a lock that ours keeps away;
 * for them see reader.ts. The query is planned for each read: a scan more in it costs as much as all the rest.
 */
const wrong = (owner: string) => `select nullif(concat_ws(', ',
  case when c.relkind <> 'r' or c.relispartition then 'kine is no plain table' end,
  case when c.relpersistence <> 'p' then 'it is not logged' end,
  case when c.reloftype <> 0 then 'it is of a type' end,
  case when c.relowner <> '${owner}'::regrole then 'it belongs to another role' end,
  case when c.relrowsecurity or c.relforcerowsecurity then 'it has row security' end,
  case when c.relhasrules then 'it has rules' end,
  case when c.relhassubclass or a.heirs then 'it inherits or is inherited' end,
  case when c.relchecks <> 0 then 'it has a check constraint' end,
  case when i.expressions then 'it has an index on an expression' end,
  case when exists (select from pg_catalog.pg_statistic_ext s where s.stxrelid = c.oid and s.stxexprs is not null) then 'it has statistics on an expression' end,
  a.columns), '')
from pg_catalog.pg_class c, lateral (
  select bool_or(a.attinhcount <> 0) as heirs, case
    when count(*) <> ${Object.keys(columns).length} or not bool_and(${ordinary}) then 'it has other columns'
    when not bool_and(a.attgenerated = '' and a.attidentity = '') then 'it has generated columns'
    when not bool_and(a.attcollation in (0, 100, 950)) then 'it has a collation of its own'
  end as columns from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) a, lateral (
  select bool_or(i.indexprs is not null or i.indpred is not null) as expressions from pg_catalog.pg_index i where i.indrelid = c.oid) i
where c.oid = '${owner}.kine'::regclass`
