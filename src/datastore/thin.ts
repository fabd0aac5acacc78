import type { Sql } from 'postgres'

/** Objects that one statement drops: each takes a place in Postgres' lock table, which all of its sessions share. */
const together = 50

/**
 * Drops most of what lies in a schema, piece by piece, where there is more of it than K3s ever makes: whoever owns it can make so much that
 * Postgres has no locks to drop it all at once (53200, "out of shared memory"). What stays is for DROP SCHEMA.
 * @param owner the schema's name, and its owner's
 */
export async function thinSchema(sql: Sql, owner: string): Promise<void> {
  await dropIndexes(sql, owner)
  await thin(sql, inSchema(owner), drop)
  await thinOwned(sql, owner)
}

/** The same for what a role owns in this database, wherever it lies. What stays is for REASSIGN OWNED or DROP OWNED. @param heir who gets it; it is dropped if nobody does */
export async function thinOwned(sql: Sql, role: string, heir?: string): Promise<void> {
  await dropIndexes(sql, role)
  await thin(sql, ownedBy(role), heir === undefined ? drop : (thing) => handOver(thing, heir))
}

/**
 * The same for what others built on a function, directly or on one another: a view asks nobody for EXECUTE. What stays is for DROP … CASCADE.
 * @param routine as regprocedure reads it
 */
export async function thinBuiltOn(sql: Sql, routine: string): Promise<void> {
  for (let before = Number.POSITIVE_INFINITY; ; ) {
    const found = await sql.unsafe<Thing[]>(builtOn(routine))
    if (found.length <= together || found.length >= before) return
    before = found.length
    for (let i = 0; i < found.length; i += together) await runAll(sql, found.slice(i, i + together).map(drop))
  }
}

type Thing = { type: string; name: string }

// Postgres itself quotes what it names. The newest first: what depends on another one was usually made after it. Where that leads nowhere, since
// each of those has too much built on it (CREATE OR REPLACE VIEW turns the order round), any.
async function thin(sql: Sql, objects: string, change: (thing: Thing) => string): Promise<void> {
  let order = 'objid desc'
  for (let before = Number.POSITIVE_INFINITY; ; ) {
    const [row] = await sql.unsafe<{ count: number }[]>(`select count(*)::int as count from (${objects}) d`)
    const count = row?.count ?? 0
    if (count <= together || (count >= before && order === 'random()')) return
    if (count >= before) order = 'random()'
    before = count
    const found = await sql.unsafe<Thing[]>(`
      select o.type, o.identity as name from (${objects} order by ${order} limit ${together}) d, pg_identify_object(d.classid, d.objid, 0) o
      where o.identity is not null`)
    await runAll(sql, found.map(change))
  }
}

// An index hangs on its table alone, and whoever locks the table locks each of them.
async function dropIndexes(sql: Sql, owner: string): Promise<void> {
  for (let before = Number.POSITIVE_INFINITY; ; ) {
    const found = await sql<{ name: string }[]>`
      select i.oid::regclass::text as name from pg_class i join pg_roles r on r.oid = i.relowner
      where i.relkind in ('i', 'I') and r.rolname = ${owner} and not exists (select from pg_constraint c where c.conindid = i.oid)`
    if (found.length <= together || found.length >= before) return
    before = found.length
    for (let i = 0; i < found.length; i += together) {
      await runAll(
        sql,
        found.slice(i, i + together).map(({ name }) => `drop index if exists ${name} cascade`),
      )
    }
  }
}

async function runAll(sql: Sql, statements: readonly string[]): Promise<void> {
  try {
    await sql.unsafe(statements.join('; '))
  } catch {
    // One of them drags many along, or is not to be changed by itself: the others go.
    for (const statement of statements) await sql.unsafe(statement).catch(() => {})
  }
}

const inSchema = (name: string) => `
  select classid, objid from pg_depend
  where refclassid = 'pg_namespace'::regclass and refobjid = (select oid from pg_namespace where nspname = '${name}') and deptype = 'n'`

// A view hangs on what it reads by its rule, and a row type on its view: those are part of another thing ("i"), which is what is dropped. Of a column,
// only what hangs on it.
const builtOn = (routine: string) => `
  with recursive built (classid, objid, objsubid) as (
    select classid, objid, objsubid from pg_depend where refclassid = 'pg_proc'::regclass and refobjid = to_regprocedure('${routine}')
    union
    select d.* from built b, lateral (
      select classid, objid, objsubid from pg_depend
      where refclassid = b.classid and refobjid = b.objid and b.objsubid in (0, refobjsubid)
      union all
      select refclassid, refobjid, refobjsubid from pg_depend where classid = b.classid and objid = b.objid and deptype = 'i') d)
  select o.type, o.identity as name from built b, pg_identify_object(b.classid, b.objid, b.objsubid) o
  where o.identity is not null
    and not exists (select from pg_depend i where i.classid = b.classid and i.objid = b.objid and i.deptype = 'i')
  order by b.objid desc`

// Of a user mapping Postgres names the server without quotes: it is left to DROP OWNED.
const ownedBy = (role: string) => `
  select classid, objid from pg_shdepend
  where refclassid = 'pg_authid'::regclass and refobjid = (select oid from pg_roles where rolname = '${role}') and deptype = 'o'
    and dbid = (select oid from pg_database where datname = current_database()) and classid not in ('pg_namespace'::regclass, 'pg_user_mapping'::regclass)`

const drop = ({ type, name }: Thing) =>
  type === 'large object' ? `select lo_unlink(${name})` : `drop ${words[type] ?? type} if exists ${name} cascade`

const handOver = ({ type, name }: Thing, heir: string) => `alter ${words[type] ?? type} ${name} owner to ${heir}`

/** Where DROP and ALTER want another word than the one by which Postgres tells of it. */
const words: Readonly<Record<string, string>> = {
  'composite type': 'type',
  'statistics object': 'statistics',
  function: 'routine',
  procedure: 'routine',
  aggregate: 'routine',
}
