import type { Sql } from 'postgres'

/**
 * Functions by which anybody may take advisory locks in this database, as many as Postgres has room for in the table of locks that all its
 * databases share. K3s uses none (kine pkg/drivers/pgsql).
 */
export async function openAdvisoryLocks(sql: Sql): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select oid::regprocedure::text as name from pg_proc
    where pronamespace = 'pg_catalog'::regnamespace and proname ~ '^pg_(try_)?advisory_(xact_)?lock(_shared)?$'
      and has_function_privilege('public', oid, 'execute')
    order by 1`
  return rows.map(({ name }) => name)
}

/** Takes them from all but superusers. @param sql a superuser's, in that database */
export async function closeAdvisoryLocks(sql: Sql): Promise<void> {
  const open = await openAdvisoryLocks(sql)
  if (open.length > 0) await sql.unsafe(`revoke execute on function ${open.join(', ')} from public`)
}
