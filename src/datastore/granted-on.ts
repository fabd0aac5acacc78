import type { Sql } from 'postgres'

/** Grants that one transaction takes back: each holds its object. */
const together = 50

/** `what`: `SELECT ON TABLE …` */
type Grant = { grantor: string; what: string }

/**
 * Takes from a role what it was granted in this database by others than the objects' owners. DROP OWNED takes back what an owner granted, and
 * nothing that came through a grant option: with one a node could keep any role, of whatever cluster, from ever being dropped (2BP01).
 * @param sql our own role, which is a member of all that nodes can grant as
 */
export async function takeGrantsOn(sql: Sql, role: string): Promise<void> {
  for (let before = Number.POSITIVE_INFINITY; ; ) {
    const found = await grantsOn(sql, role)
    if (found.length === 0 || found.length >= before) return
    before = found.length
    for (let i = 0; i < found.length; i += together) await takeBack(sql, found.slice(i, i + together), role)
  }
}

async function takeBack(sql: Sql, grants: readonly Grant[], role: string): Promise<void> {
  // What somebody drops meanwhile, or took back, is not there the next time; what is then, DROP ROLE tells of.
  await sql
    .begin((tx) => tx.unsafe(grants.map((grant) => revoking(grant, role)).join('; ')))
    .catch(async () => {
      for (const grant of grants) await sql.begin((tx) => tx.unsafe(revoking(grant, role))).catch(() => {})
    })
}

// Each privilege by itself: of more than the grantor may grant, Postgres takes what the owner granted. It quotes what it names; a sequence passes for a table.
const revoking = ({ grantor, what }: Grant, role: string) =>
  `set local role ${grantor}; revoke ${what} from ${role} cascade; reset role`

async function grantsOn(sql: Sql, role: string): Promise<Grant[]> {
  return sql<Grant[]>`
    select distinct quote_ident(pg_get_userbyid(a.grantor)) as grantor, a.privilege_type || l.kind || ' ' || o.identity as what
    from pg_shdepend s, pg_identify_object(s.classid, s.objid, 0) o, lateral (
      select ' on table' as kind, relowner as owner, relacl as acl from pg_class
        where s.classid = 'pg_class'::regclass and s.objsubid = 0 and oid = s.objid
      union all select format(' (%I) on table', attname), relowner, attacl from pg_attribute join pg_class c on c.oid = attrelid
        where s.classid = 'pg_class'::regclass and attrelid = s.objid and attnum = s.objsubid
      union all select ' on routine', proowner, proacl from pg_proc where s.classid = 'pg_proc'::regclass and oid = s.objid
      union all select ' on type', typowner, typacl from pg_type where s.classid = 'pg_type'::regclass and oid = s.objid
      union all select ' on schema', nspowner, nspacl from pg_namespace where s.classid = 'pg_namespace'::regclass and oid = s.objid
      union all select ' on large object', lomowner, lomacl from pg_largeobject_metadata
        where s.classid = 'pg_largeobject'::regclass and oid = s.objid) l, aclexplode(l.acl) a
    where s.refclassid = 'pg_authid'::regclass and s.refobjid = (select oid from pg_roles where rolname = ${role}) and s.deptype = 'a'
      and s.dbid = (select oid from pg_database where datname = current_database())
      and a.grantee = s.refobjid and a.grantor <> l.owner and o.identity is not null`
}
