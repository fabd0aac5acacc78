import { sql as raw } from 'drizzle-orm'
import type { Sql } from 'postgres'
import type { Drizzle } from './database.ts'

/** A cluster whose API the roll calls, and whose turn it is. */
export type AccessCluster = {
  id: string
  name: string
  access_sealed: Uint8Array
  /** Unix seconds */
  observed_at: number | null
  observe_trouble: string | null
}

/**
 * Takes clusters whose time has come. Whoever takes one has it for `hold` seconds, or until it says when the next turn is
 * (`lookAgainAt`), so that one server calls a cluster at a time, and one that died holds none for long.
 * @param now Unix seconds
 */
export async function takeAccessClusters(sql: Sql, now: number, hold: number, limit: number): Promise<AccessCluster[]> {
  return sql<AccessCluster[]>`
    with due as (
      select id from clusters where access_sealed is not null and deleted_at is null
        and (observe_after is null or observe_after <= to_timestamp(${now}))
      order by observe_after nulls first limit ${limit} for no key update skip locked
    )
    update clusters c set observe_after = to_timestamp(${now + hold}) from due where c.id = due.id
    returning c.id, c.name, c.access_sealed, extract(epoch from c.observed_at)::float8 as observed_at, c.observe_trouble`
}

/** Whether devices of a cluster are its servers, enrolled or not. */
export async function hasServerDevices(tx: Drizzle, clusterId: string): Promise<boolean> {
  const rows = await tx.execute(raw`
    select 1 from devices d join profiles p on p.id = d.profile_id
      join profile_revisions r on r.profile_id = p.id and r.revision = p.revision
    where d.cluster_id = ${clusterId} and coalesce(d.role, r.spec->>'role') = 'server' and d.state not in ('revoked', 'retired')
    limit 1`)
  return rows.length > 0
}
