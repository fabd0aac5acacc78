import type { Sql } from 'postgres'
import { clustersDatabase } from '../k3s/datastore-names.ts'
import { connect, type OwnServer } from './connect.ts'
import { takeGrantsOn } from './granted-on.ts'
import { thinOwned } from './thin.ts'

/**
 * Drops what a cluster's role left, and what it was granted, in other databases than the clusters'. Postgres lets everybody into the database `postgres`, and
 * everybody there may make a large object, and grant it to any role: one of them would keep the role for ever.
 */
export async function dropElsewhere(server: OwnServer, sql: Sql, role: string): Promise<void> {
  const rows = await sql<{ name: string }[]>`
    select distinct d.datname as name from pg_shdepend s join pg_database d on d.oid = s.dbid
    where s.refclassid = 'pg_authid'::regclass and s.refobjid = (select oid from pg_roles where rolname = ${role})
      and d.datname <> ${clustersDatabase}`
  for (const { name } of rows) {
    const there = connect(server, { database: name, max: 1 })
    try {
      await thinOwned(there, role)
      await takeGrantsOn(there, role)
      await there.unsafe(`drop owned by ${role} cascade`)
    } finally {
      await there.end({ timeout: 1 })
    }
  }
}
