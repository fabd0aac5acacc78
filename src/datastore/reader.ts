import type { TransactionSql } from 'postgres'
import { observerRole, ownerRole, readerRole } from '../k3s/datastore-names.ts'
import { guardSchema, readersSchema } from './reader-names.ts'
import { tableGuard } from './table-guard.ts'

/**
 * Makes the schema of the readers, which the observer alone may look into, and the one of the guard that they call (table-guard.ts), once.
 * @param tx our own role in the clusters' database, alone at it
 */
export async function makeReadersSchema(tx: TransactionSql): Promise<void> {
  await makeSchema(tx, readersSchema, observerRole)
  await makeSchema(tx, guardSchema, 'public')
}

async function makeSchema(tx: TransactionSql, name: string, user: string): Promise<void> {
  const [have] = await tx`select from pg_namespace where nspname = ${name}`
  if (!have) await tx.unsafe(`create schema ${name}`)
  // Not has_schema_privilege: what comes by way of PUBLIC may be taken from it.
  const [may] = await tx`
    select from pg_namespace n, aclexplode(n.nspacl) a left join pg_roles r on r.oid = a.grantee
    where n.nspname = ${name} and a.privilege_type = 'USAGE' and coalesce(r.rolname, 'public') = ${user}`
  if (!may) await tx.unsafe(`grant usage on schema ${name} to ${user}`)
}

/** The reader of a cluster, as SQL names it. @param owner `ownerRole` */
export const readerOf = (owner: string): string => `${readersSchema}.${owner}(text)`

/** What a reader runs. It names the guard's schema, so that one that was made for another place of it is known by this. */
export const readerBody = (owner: string): string =>
  ` begin return query execute ${tableGuard}('${owner}', reading); end `

/** The statement that makes a reader, or gives one this body and leaves its owner and whom it serves as they are. */
export const readerStatement = (owner: string): string =>
  `create or replace function ${readersSchema}.${owner}(reading text) returns setof record language plpgsql volatile security definer
    set search_path = '' as $$${readerBody(owner)}$$`

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
  const way = readerOf(owner)
  const [have] = await tx`select from pg_roles where rolname = ${reader}`
  if (!have) await tx.unsafe(`create role ${reader} nologin noinherit`)
  await tx.unsafe(`grant ${reader} to current_user`)
  await tx.unsafe(`set local role ${owner}`)
  await tx.unsafe(`grant usage on schema ${owner} to ${reader}`)
  await tx.unsafe('reset role')
  await tx.unsafe(`alter default privileges for role ${owner} in schema ${owner} grant select on tables to ${reader}`)
  await tx.unsafe(readerStatement(owner))
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
