import { sql as raw } from 'drizzle-orm'
import type { Sql } from 'postgres'
import { recordAudit } from './audit.ts'
import type { Drizzle } from './database.ts'

/** A managed cluster whose turn it is to be looked at. */
export type DueCluster = {
  id: string
  name: string
  server_token_sealed: Uint8Array
  bootstrap: string | null
  observe_trouble: string | null
  /** It is about to come up, or is being joined. */
  busy: boolean
}

/** Seconds between two looks. */
export type Periods = { busy: number; quiet: number }

/** Seconds that a look is late where its server was not there: many clusters' looks are due then at the same moment. */
const absence = 2

/** Seconds after which a device that does not get on no longer makes its cluster a busy one. */
const patience = 3_600

/**
 * Takes the clusters whose time has come, and says when it comes again: soon for one that is about to come up or is being joined. Whoever takes one has it for that
 * time, so that any number of servers share the work and none of them waits for another. Those that were not looked at for a while are spread over the time to come.
 * @param now Unix seconds
 */
export async function takeDueClusters(
  sql: Sql,
  now: number,
  { busy, quiet }: Periods,
  limit: number,
): Promise<DueCluster[]> {
  return sql<DueCluster[]>`
    with due as (
      select c.id, c.state = 'initializing' or exists (
        select from devices d where d.cluster_id = c.id and d.state in ('enrolled', 'installing', 'joined')
          and d.state_since > to_timestamp(${now - patience})) as busy
      from clusters c where c.datastore_kind = 'managed' and c.deleted_at is null
        and (c.observe_after is null or c.observe_after <= to_timestamp(${now}))
      order by c.observe_after nulls first limit ${limit} for no key update of c skip locked
    )
    update clusters c set observe_after = to_timestamp(${now}::float8 + case when due.busy then ${busy}::float8
      when c.observe_after > to_timestamp(${now - absence}) then ${quiet}::float8 else ${quiet}::float8 * random() end)
    from due where c.id = due.id
    returning c.id, c.name, c.server_token_sealed, c.bootstrap, c.observe_trouble, due.busy`
}

/** Puts the next look off, or brings it forward. */
export async function lookAgainAt(sql: Sql, clusterId: string, at: number): Promise<void> {
  await sql`update clusters set observe_after = to_timestamp(${at}) where id = ${clusterId}`
}

/** Keeps what a bootstrap row was seen to be. */
export async function noteBootstrap(sql: Sql, clusterId: string, bootstrap: string): Promise<void> {
  await sql`update clusters set bootstrap = ${bootstrap} where id = ${clusterId} and bootstrap is distinct from ${bootstrap}`
}

/**
 * Keeps what keeps a cluster from being read, or that nothing does. What is an alarm is told in the audit, once.
 * @returns whether that is new
 */
export async function noteTrouble(
  tx: Drizzle,
  { id, name }: { id: string; name: string },
  trouble: string | null,
  now: number,
  alarm: string | undefined,
): Promise<boolean> {
  const rows = await tx.execute(raw`
    update clusters set observe_trouble = ${trouble} where id = ${id} and observe_trouble is distinct from ${trouble} returning 1`)
  if (rows.length === 0) return false
  if (alarm) await recordAudit(tx, now, { name: 'server' }, alarm, `cluster:${name}`, { trouble })
  return true
}
