import type { Sql, TransactionSql } from 'postgres'
import { ownerRole, readerRole } from '../k3s/datastore-names.ts'
import type { OwnServer } from './connect.ts'
import { dropElsewhere } from './elsewhere.ts'
import { takeGrantsOn } from './granted-on.ts'
import { grantConnect } from './provision.ts'
import { dropReader, makeReader, readerOf } from './reader.ts'
import { thinBuiltOn, thinSchema } from './thin.ts'

/**
 * Makes a cluster's schema, the role that owns it and the way to read it, or completes them. Nothing in the schema is looked at: it is its servers'.
 * @param sql our own role in the clusters' database
 */
export async function declareSchema(sql: Sql, clusterId: string): Promise<void> {
  await sql.begin((tx) => declareWithin(tx, clusterId))
}

/** The same, in a transaction that does more. */
export async function declareWithin(tx: TransactionSql, clusterId: string): Promise<void> {
  const name = ownerRole(clusterId)
  const [have] = await tx<{ role: boolean; schema: boolean }[]>`
      select exists (select from pg_roles where rolname = ${name}) as role,
        exists (select from pg_namespace where nspname = ${name}) as schema`
  if (!have?.role) await tx.unsafe(`create role ${name} nologin`)
  await tx.unsafe(`grant ${name} to current_user`)
  await grantConnect(tx, name)
  if (!have?.schema) await tx.unsafe(`create schema ${name} authorization ${name}`)
  await makeReader(tx, clusterId)
}

/** Drops a cluster's schema with all that is in it, whoever made it, and its owner. Its nodes' logins must be gone. */
export async function purgeSchema(server: OwnServer, sql: Sql, clusterId: string): Promise<void> {
  const name = ownerRole(clusterId)
  await thinSchema(sql, name)
  await thinBuiltOn(sql, readerOf(name))
  for (const role of [name, readerRole(clusterId)]) {
    await dropElsewhere(server, sql, role)
    await takeGrantsOn(sql, role)
  }
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
