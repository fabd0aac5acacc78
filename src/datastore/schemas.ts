import type { Sql } from 'postgres'
import { clustersDatabase, ownerRole } from '../k3s/datastore-names.ts'
import { grantConnect } from './provision.ts'
import { dropReader, makeReader } from './reader.ts'
import { thin } from './thin.ts'

/**
 * Makes a cluster's schema, the role that owns it and the way to read it, or completes them. Nothing in the schema is looked at: it is its servers'.
 * @param sql our own role in the clusters' database
 */
export async function declareSchema(sql: Sql, clusterId: string): Promise<void> {
  const name = ownerRole(clusterId)
  await sql.begin(async (tx) => {
    const [have] = await tx<{ role: boolean; schema: boolean }[]>`
      select exists (select from pg_roles where rolname = ${name}) as role,
        exists (select from pg_namespace where nspname = ${name}) as schema`
    if (!have?.role) await tx.unsafe(`create role ${name} nologin`)
    await tx.unsafe(`grant ${name} to current_user`)
    await grantConnect(tx, name)
    if (!have?.schema) await tx.unsafe(`create schema ${name} authorization ${name}`)
    await makeReader(tx, clusterId)
  })
}

/** Drops a cluster's schema with all that is in it, whoever made it, and its owner. Its nodes' logins must be gone. */
export async function purgeSchema(sql: Sql, clusterId: string): Promise<void> {
  const name = ownerRole(clusterId)
  await thin(sql, name)
  await sql.begin(async (tx) => {
    const [have] = await tx<{ role: boolean; schema: boolean }[]>`
      select exists (select from pg_roles where rolname = ${name}) as role,
        exists (select from pg_namespace where nspname = ${name}) as schema`
    if (have?.schema) await tx.unsafe(`drop schema ${name} cascade`)
    await dropReader(tx, clusterId)
    if (!have?.role) return
    // Large objects lie outside of any schema; and CONNECT on the database, which would keep the role.
    await tx.unsafe(`drop owned by ${name} cascade`)
    await tx.unsafe(`drop role ${name}`)
  })
}

/** The databases beside the clusters' in which a role owns something or was granted something. */
export async function otherDatabases(sql: Sql, role: string): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select distinct d.datname as name from pg_shdepend s join pg_database d on d.oid = s.dbid
    where s.refclassid = 'pg_authid'::regclass and s.refobjid = (select oid from pg_roles where rolname = ${role})
      and d.datname <> ${clustersDatabase}`
  return rows.map(({ name }) => name)
}
