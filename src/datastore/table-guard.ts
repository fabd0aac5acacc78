import type { TransactionSql } from 'postgres'
import { guardSchema, tamperedState } from './reader-names.ts'

/**
 * `(owner text, reading text) returns text`: holds a cluster's table until the transaction ends, refuses it unless it is what K3s makes, and
 * only then hands on the query that is to read it.
 */
export const tableGuard = `${guardSchema}.guard`

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
declare
  found text;
begin
  execute pg_catalog.format('lock table only %I.kine in access share mode', owner);
  select nullif(concat_ws(', ',
    case when c.relkind <> 'r' or c.relispartition then 'kine is no plain table' end,
    case when c.relpersistence <> 'p' then 'it is not logged' end,
    case when c.reloftype <> 0 then 'it is of a type' end,
    case when c.relowner <> owner::regrole then 'it belongs to another role' end,
    case when c.relrowsecurity or c.relforcerowsecurity then 'it has row security' end,
    case when c.relhasrules then 'it has rules' end,
    case when c.relhassubclass or a.heirs then 'it inherits or is inherited' end,
    case when c.relchecks <> 0 then 'it has a check constraint' end,
    case when i.expressions then 'it has an index on an expression' end,
    case when exists (select from pg_catalog.pg_statistic_ext s where s.stxrelid = c.oid and s.stxexprs is not null) then 'it has statistics on an expression' end,
    a.columns), '')
  into found
  from pg_catalog.pg_class c, lateral (
    select bool_or(a.attinhcount <> 0) as heirs, case
      when count(*) <> ${Object.keys(columns).length} or not bool_and(${ordinary}) then 'it has other columns'
      when not bool_and(a.attgenerated = '' and a.attidentity = '') then 'it has generated columns'
      when not bool_and(a.attcollation in (0, 100, 950)) then 'it has a collation of its own'
    end as columns from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) a, lateral (
    select bool_or(i.indexprs is not null or i.indpred is not null) as expressions from pg_catalog.pg_index i where i.indrelid = c.oid) i
  where c.oid = pg_catalog.format('%I.kine', owner)::regclass;
  if found is not null then
    raise exception using errcode = '${tamperedState}', message = found;
  end if;
  return reading;
end
`

/**
 * Makes the one function that guards all clusters' tables, or renews it. It is the same for all of them, so that a session plans it once: to plan it for
 * each read cost a quarter of all that a look at a cluster costs. It runs as whoever calls it, reads the catalog alone, and tells nobody what that does not.
 * @param tx our own role in the clusters' database, alone at it
 */
export async function makeTableGuard(tx: TransactionSql): Promise<void> {
  const [have] = await tx<
    { text: string }[]
  >`select prosrc as text from pg_proc where oid = to_regprocedure(${`${tableGuard}(text, text)`})`
  if (have?.text === body) return
  await tx.unsafe(
    `create or replace function ${tableGuard}(owner text, reading text) returns text language plpgsql volatile set search_path = '' as $guard$${body}$guard$`,
  )
}
