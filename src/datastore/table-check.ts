import type { TransactionSql } from 'postgres'
import { readersSchema } from './reader.ts'

/** `(kine regclass, rightful regrole) returns text`: what is wrong with a cluster's table, or null. */
export const tableCheck = `${readersSchema}.wrong`

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
 * Each line is a way to have one's own code run by whoever reads: K3s makes none of them, so there is nothing to weigh. The flags of pg_class stay up for a
 * while after their cause is gone, which is its owner's loss. The planner runs immutable functions of index expressions, index predicates and extended
 * statistics by itself. Everything but those two needs a lock that ours keeps away; for them see reader.ts.
 */
const body = `
begin
  return (
  select nullif(concat_ws(', ',
    case when c.relkind <> 'r' or c.relispartition then 'kine is no plain table' end,
    case when c.relpersistence <> 'p' then 'it is not logged' end,
    case when c.reloftype <> 0 then 'it is of a type' end,
    case when c.relowner <> rightful then 'it belongs to another role' end,
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
  where c.oid = kine);
end
`

/**
 * Makes the one function that checks all clusters' tables, or renews it. It is the same for all of them, so that a session plans it once: to plan it for
 * each read cost a quarter of all that a look at a cluster costs. It reads the catalog alone, and tells nobody what that does not.
 * @param tx our own role in the clusters' database, alone at it
 */
export async function makeTableCheck(tx: TransactionSql): Promise<void> {
  const [have] = await tx<
    { text: string }[]
  >`select prosrc as text from pg_proc where oid = to_regprocedure(${`${tableCheck}(regclass, regrole)`})`
  if (have?.text === body) return
  await tx.unsafe(
    `create or replace function ${tableCheck}(kine regclass, rightful regrole) returns text language plpgsql stable set search_path = '' as $check$${body}$check$`,
  )
}
