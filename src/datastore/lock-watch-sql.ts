import { observerRole } from '../k3s/datastore-names.ts'

/**
 * Locks in Postgres' shared table that the sessions of one login may hold together. K3s holds some dozens; the table has room for
 * 64 a connection by default, and a login may have 40 connections: all logins at this limit fill less than half of it.
 */
const most = 1_000

/** What a session that stands goes back to when a statement fails, so that it keeps what it holds. */
export const standing = 'savepoint standing'
export const backToStanding = 'rollback to standing'

// Else a transaction sees the sessions that there were when it first looked.
const renew = 'select pg_stat_clear_snapshot()'

// Kept until the end of the look (backend_status.c, pgstat_read_current_status). To read 10,000 locks takes some 20 ms: whoever is refused one has
// let go of all and left by then, and would be nobody's.
const sessions = 'select from pg_stat_get_activity(null) limit 1'

// Whoever holds what he asks for is told of nothing that others changed, roles above all (lmgr.c, LockRelationOid): so one table is not held.
const unheld = 'pg_ts_template'
export const learning = `select pg_relation_size('pg_catalog.${unheld}')`

// The rest of the catalog, with its indexes, which planning locks: what of it a session reads anew depends on what it forgot, and others can make it forget
// all. Two that only a superuser may read are read through views.
const hold = `do $$ declare name text; begin
  for name in select relname from pg_class where relnamespace = 'pg_catalog'::regnamespace and relkind = 'r' and relname <> '${unheld}'
    and has_table_privilege(oid, 'select') loop
    execute format('select from pg_catalog.%I limit 0', name);
  end loop;
  perform from pg_roles limit 0;
  perform from pg_stats limit 0;
end $$`

// Not pg_locks and pg_stat_activity: a view's text lies in a table of its own, which nobody can hold.
const activity = '(select pid, pg_get_userbyid(usesysid) as usename from pg_stat_get_activity(null)) s'

/** Modes of locks that keep others from reading a table, or from changing it. */
const alone = ['ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock']

// What serialisable transactions have read (SIReadLock) is counted elsewhere. Whoever waits for a catalog alone keeps all others waiting behind him, those
// who log in as well. CREATE RULE waits for it before it asks whose it is (rewriteDefine.c, DefineRule), so any node can; K3s never does. An admin's VACUUM FULL
// is let through. What initdb made has numbers below 16,384; to make it longer takes a lock of another type. Only names of our own making get into statements.
const look = `
  with l as materialized (
    select pid, granted, not fastpath and mode <> 'SIReadLock' as counts,
      locktype = 'relation' and relation < 16384 and mode = any ('{${alone.join()}}') as alone
    from pg_lock_status()), s as materialized (
    select pid, usename as role, usename ~ '^(k3s_n_[0-9a-hjkmnp-tv-z]{26}|${observerRole})$' as watched from ${activity})
  select role, sum(locks)::int as locks, process, bool_or(alone) as alone
  from (select pid, count(*) filter (where counts) as locks, bool_or(alone) as alone from l group by pid) h
    join s using (pid), lateral (select case when role = '${observerRole}' then pid end as process) p
  where watched group by role, process having sum(locks) > ${most} or bool_or(alone)
  union all
  select null, 0, null, false where exists (select from l join s using (pid) where alone and not granted and watched is not true)`

// To plan it costs ten times as much as to run it.
const prepare = `deallocate all; prepare looking as ${look}`

/** Looks, in a session that stands. */
export const looking = `${renew}; ${sessions}; execute looking`

/** Begins anew: holds the catalog, and looks. */
export const beginning = `rollback; begin read only; ${hold}; ${prepare}; ${looking}`

/** Ends the sessions of a login, or one of them. */
export const endingSessions = (role: string, process?: number): string =>
  `${renew}; select pg_terminate_backend(pid) from ${activity} where usename = '${role}'${process === undefined ? '' : ` and pid = ${process}`}`

/** Keeps a login out; in a transaction of its own. */
export const forbidding = (role: string): string =>
  `rollback; begin; set local lock_timeout = 100; alter role ${role} nologin; commit`
