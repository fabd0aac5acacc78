import type { Sql } from 'postgres'

/** Objects that one statement drops: each takes a place in Postgres' lock table, which all of its sessions share. */
const together = 50

/**
 * Drops most of what lies in a schema, piece by piece, where there is more of it than K3s ever makes: whoever owns it can make so much that
 * Postgres has no locks to drop it all at once (53200, "out of shared memory"). What stays is for DROP SCHEMA.
 * @param owner the schema's name, and its owner's
 */
export async function thin(sql: Sql, owner: string): Promise<void> {
  for (let before = Number.POSITIVE_INFINITY; ; ) {
    const [row] = await sql<{ objects: number }[]>`
      select count(*)::int as objects from pg_depend
      where refclassid = 'pg_namespace'::regclass and refobjid = (select oid from pg_namespace where nspname = ${owner}) and deptype = 'n'`
    const objects = row?.objects ?? 0
    if (objects <= together || objects >= before) break
    before = objects
    await dropSome(sql, owner)
  }
  while ((await unlinkSome(sql, owner)) === together);
}

// The newest first: what depends on another one was usually made after it. Postgres itself quotes what it names.
async function dropSome(sql: Sql, owner: string): Promise<void> {
  const found = await sql<{ type: string; name: string }[]>`
    select o.type, o.identity as name
    from (select classid, objid from pg_depend
      where refclassid = 'pg_namespace'::regclass and refobjid = (select oid from pg_namespace where nspname = ${owner}) and deptype = 'n'
      order by objid desc limit ${together}) d, pg_identify_object(d.classid, d.objid, 0) o
    where o.identity is not null`
  const drops = found.map(({ type, name }) => `drop ${words[type] ?? type} if exists ${name} cascade`)
  try {
    await sql.unsafe(drops.join('; '))
  } catch {
    // One of them drags many along, or is not to be dropped by itself: the others go.
    for (const drop of drops) await sql.unsafe(drop).catch(() => {})
  }
}

/** Where DROP wants another word than the one by which Postgres tells of it. */
const words: Readonly<Record<string, string>> = {
  'composite type': 'type',
  'statistics object': 'statistics',
  function: 'routine',
  procedure: 'routine',
  aggregate: 'routine',
}

async function unlinkSome(sql: Sql, owner: string): Promise<number> {
  const rows = await sql`
    select lo_unlink(oid) from (select oid from pg_largeobject_metadata
      where lomowner = (select oid from pg_roles where rolname = ${owner}) limit ${together}) l`
  return rows.length
}
