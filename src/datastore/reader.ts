import type { TransactionSql } from 'postgres'
import { observerRole, ownerRole, readerRole } from '../k3s/datastore-names.ts'

/** Where the observer finds its way to read, one function a cluster, and the check that all share; nobody but us makes anything there. */
export const readersSchema = 'rollcall_read'

/** SQLSTATE by which a reader says that the table is not what K3s makes; the message says what it is instead. */
export const tamperedState = 'RC001'

/**
 * Makes the schema of the readers, once. PUBLIC may look into it for the check of tables (table-check.ts), which readers call; each reader is the observer's alone.
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
 * @param tx our own role in the clusters' database, in a transaction; the cluster's schema and owner are there
 */
export async function makeReader(tx: TransactionSql, clusterId: string): Promise<void> {
  const [owner, reader] = [ownerRole(clusterId), readerRole(clusterId)]
  const way = `${readersSchema}.${owner}(text, text, text)`
  const [have] = await tx`select from pg_roles where rolname = ${reader}`
  if (!have) await tx.unsafe(`create role ${reader} nologin noinherit`)
  await tx.unsafe(`grant ${reader} to current_user`)
  await tx.unsafe(`set local role ${owner}`)
  await tx.unsafe(`grant usage on schema ${owner} to ${reader}`)
  await tx.unsafe('reset role')
  await tx.unsafe(`alter default privileges for role ${owner} in schema ${owner} grant select on tables to ${reader}`)
  await tx.unsafe(`create or replace function ${way.replace('(text, text, text)', parameters)} ${body}`)
  // Postgres wants the new owner to be allowed to make functions there, for this one moment.
  await tx.unsafe(`grant create on schema ${readersSchema} to ${reader}`)
  await tx.unsafe(`alter function ${way} owner to ${reader}`)
  await tx.unsafe(`revoke create on schema ${readersSchema} from ${reader}`)
  await tx.unsafe(`revoke all on function ${way} from public`)
  await tx.unsafe(`grant execute on function ${way} to ${observerRole}`)
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

// The guard's texts come from the caller (guard.ts), so that no release of Rollcall has to make the function of every cluster again. They add
// nothing to what the observer may do: it can run anything as that role, which can read one table. Volatile, since each statement
// must see what was committed before it.
const parameters = '(hold text, wrong text, query text)'
const body = `returns setof record language plpgsql volatile security definer set search_path = '' as $reader$
declare
  found text;
begin
  execute hold;
  execute wrong into found;
  if found is not null then
    raise exception using errcode = '${tamperedState}', message = found;
  end if;
  return query execute query;
end
$reader$`
