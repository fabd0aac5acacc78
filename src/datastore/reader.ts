import type { Sql, TransactionSql } from 'postgres'
import { observerRole, ownerRole, readerRole } from '../k3s/datastore-names.ts'
import { readersSchema } from './reader-names.ts'
import { tableGuard } from './table-guard.ts'

/**
 * Makes the schema of the readers, once. PUBLIC may look into it for the guard of tables (table-guard.ts), which readers call; each reader is the observer's alone.
 * @param tx our own role in the clusters' database, alone at it
 */
export async function makeReadersSchema(tx: TransactionSql): Promise<void> {
  const [have] = await tx`select from pg_namespace where nspname = ${readersSchema}`
  if (!have) await tx.unsafe(`create schema ${readersSchema}`)
  const [may] = await tx<
    { public: boolean }[]
  >`select has_schema_privilege('public', ${readersSchema}, 'usage') as public`
  if (!may?.public) await tx.unsafe(`grant usage on schema ${readersSchema} to public`)
}

/**
 * Makes, or completes, the one way by which the observer reads a cluster: a function that runs as a role which may read that cluster's table and
 * nothing else. Whatever code of the cluster the guard should miss (an index, made between check and read, has its immutable functions run
 * by the planner) is then run as that role, which Postgres lets nobody leave inside such a function: it finds what it has already.
 *
 * What it is asked adds nothing to what the observer may do: that can run anything as that role, which can read one table. It says as little as it can, since
 * a session compiles it anew for each cluster; the guard it shares. Volatile, since each statement must see what was committed before it.
 * @param tx our own role in the clusters' database, in a transaction; the cluster's schema and owner are there
 */
export async function makeReader(tx: TransactionSql, clusterId: string): Promise<void> {
  const [owner, reader] = [ownerRole(clusterId), readerRole(clusterId)]
  const way = `${readersSchema}.${owner}`
  const [have] = await tx`select from pg_roles where rolname = ${reader}`
  if (!have) await tx.unsafe(`create role ${reader} nologin noinherit`)
  await tx.unsafe(`grant ${reader} to current_user`)
  await tx.unsafe(`set local role ${owner}`)
  await tx.unsafe(`grant usage on schema ${owner} to ${reader}`)
  await tx.unsafe('reset role')
  await tx.unsafe(`alter default privileges for role ${owner} in schema ${owner} grant select on tables to ${reader}`)
  await tx.unsafe(`create or replace function ${way}(reading text) returns setof record language plpgsql volatile security definer
    set search_path = '' as $$ begin return query execute ${tableGuard}('${owner}', reading); end $$`)
  // Postgres wants the new owner to be allowed to make functions there, for this one moment.
  await tx.unsafe(`grant create on schema ${readersSchema} to ${reader}`)
  await tx.unsafe(`alter function ${way}(text) owner to ${reader}`)
  await tx.unsafe(`revoke create on schema ${readersSchema} from ${reader}`)
  await tx.unsafe(`revoke all on function ${way}(text) from public`)
  await tx.unsafe(`grant execute on function ${way}(text) to ${observerRole}`)
}

/**
 * Makes the readers of those clusters that have none, or one of an earlier release, which is asked in another way. A cluster whose servers hold its schema
 * just now is left out: it shows as one whose reader is missing.
 * @param sql our own role in the clusters' database, alone at it
 */
export async function completeReaders(sql: Sql): Promise<void> {
  const without = await sql<{ id: string }[]>`
    select substr(nspname, 5) as id from pg_namespace
    where nspname ~ '^k3s_[0-9a-z]{26}$' and pg_get_userbyid(nspowner) = nspname
      and to_regprocedure(format('%I.%I(text)', ${readersSchema}::text, nspname)) is null`
  for (const { id } of without) {
    try {
      await sql.begin(async (tx) => {
        await tx.unsafe('set local lock_timeout = 1000')
        await makeReader(tx, `clu_${id}`)
      })
    } catch (error) {
      if ((error as { code?: string }).code !== '55P03') throw error
    }
  }
}

/** Drops it again. The cluster's schema, and with it what the role may read, is gone before. */
export async function dropReader(tx: TransactionSql, clusterId: string): Promise<void> {
  const reader = readerRole(clusterId)
  const [have] = await tx`select from pg_roles where rolname = ${reader}`
  if (!have) return
  await tx.unsafe(`grant ${reader} to current_user`)
  await tx.unsafe(`drop owned by ${reader} cascade`)
  await tx.unsafe(`drop role ${reader}`)
}
