import type { TransactionSql } from 'postgres'
import { guardSchema, tamperedState } from './reader-names.ts'

/**
 * `(owner text, reading text) returns text`: holds a cluster's table until the transaction ends, or refuses at once if somebody else does (55P03), refuses it
 * unless it is what K3s makes, and only then hands on the query that is to read it.
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

/** Of indexes; kine 0.9 to 0.17 make 7. */
const mostIndexes = 16

/** Bytes of the one default, as Postgres keeps it; that of kine's ids, its first column, has some 400. */
const mostDefault = 2_000

/**
 * Each line is a way to have one's own code run by whoever reads, or to cost it dearly: K3s makes none of them, so there is nothing to weigh. The flags of
 * pg_class stay up for a while after their cause is gone, which is its owner's loss. The planner runs immutable functions of index expressions, index
 * predicates and extended statistics by itself, and locks every index. What may still come between this check and the read are indexes, statistics, triggers, foreign keys
 * and heirs, which ACCESS SHARE keeps nobody from making: the code of the first two may run, see reader.ts; those of the others does not in a SELECT … FROM ONLY.
 */
const signs: readonly (readonly [what: string, when: string])[] = [
  ['kine is no plain table', `c.relkind <> 'r' or c.relispartition`],
  ['it is not logged', `c.relpersistence <> 'p'`],
  ['it is of a type', 'c.reloftype <> 0'],
  ['it belongs to another role', 'c.relowner <> owner::regrole'],
  ['it has row security', 'c.relrowsecurity or c.relforcerowsecurity'],
  ['it has rules', 'c.relhasrules'],
  ['it has triggers', 'c.relhastriggers'],
  ['it inherits or is inherited', 'c.relhassubclass or a.heirs'],
  ['it has a check constraint', 'c.relchecks <> 0'],
  [`it has more than ${mostIndexes} indexes`, 'i.many'],
  ['it has an index on an expression', 'i.expressions'],
  ['it has extended statistics', 'exists (select from pg_catalog.pg_statistic_ext s where s.stxrelid = c.oid)'],
  ['it has other columns', 'a.others'],
  ['it has generated columns', 'a.generated'],
  ['it has other defaults', 'd.others'],
  ['it has a collation of its own', 'a.collations'],
]
const [[noTable]] = signs as [(typeof signs)[0]]
const swapped = 'it was swapped while it was looked at'

/** What the guard says of a table that is not what K3s makes: some of these, joined by `, `. */
export const tamperedSigns: readonly string[] = [...signs.map(([what]) => what), swapped]

/**
 * LOCK goes through a view, as its owner, to all tables behind it: so what has no file of its own is not locked at all. It does not wait, whoever calls waits
 * and tries again, from a new transaction (guard.ts): to wait here, with an exception caught for each try, cost a tenth of a look. What a session remembers
 * of the catalog is as new as its transaction, and enough for the first look, which needs no query; a view that comes between look and lock is refused a moment later,
 * by the check of what is held then. Without a row in the catalog there was nothing to check: a snapshot from before the table was made has none.
 */
const body = `
declare
  kine text := pg_catalog.format('%I.kine', owner);
  wrong text;
begin
  if pg_catalog.pg_relation_filenode(kine::regclass) is null then
    raise exception using errcode = '${tamperedState}', message = '${noTable}';
  end if;
  execute 'lock table only ' || kine || ' in access share mode nowait';
  select nullif(concat_ws(', ', ${signs.map(([what, when]) => `case when ${when} then '${what}' end`).join(',\n    ')}), '')
  into wrong
  from pg_catalog.pg_class c, lateral (
    select bool_or(a.attinhcount <> 0) as heirs, count(*) <> ${Object.keys(columns).length} or not bool_and(${ordinary}) as others,
      not bool_and(a.attgenerated = '' and a.attidentity = '') as generated, not bool_and(a.attcollation in (0, 100, 950)) as collations
    from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) a, lateral (
    select count(*) > ${mostIndexes} as many, bool_or(i.indexprs is not null or i.indpred is not null) as expressions
    from pg_catalog.pg_index i where i.indrelid = c.oid) i, lateral (
    select bool_or(d.adnum <> 1 or octet_length(d.adbin::text) > ${mostDefault}) as others
    from pg_catalog.pg_attrdef d where d.adrelid = c.oid) d
  where c.oid = kine::regclass;
  if not found or wrong is not null then
    raise exception using errcode = '${tamperedState}', message = coalesce(wrong, '${swapped}');
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
