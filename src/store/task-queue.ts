import type { Sql } from 'postgres'
import { goodCredential } from './node-credentials.ts'
import type { TaskVerb } from './tasks.ts'

/** Tasks that are handed out at once: `kubectl apply` takes a hundred manifests as fast as one. */
export const mostTaken = 100

// One that was handed out and never answered for goes to the next server after a minute; one that failed soon, then less and less
// often. A Node comes back while it is not banned, so it is banned first; unless its cluster gave us no right to, and said so.
const due = (now: string) => `
  t.done_at is null and (t.expires_at is null or t.expires_at > to_timestamp(${now}))
  and (t.sent_at is null or t.sent_at <= to_timestamp(${now})
    - case t.result when 'fail' then least(10 * 2 ^ least(t.attempts - 1, 8), 600) else 60 end * interval '1 second')
  and not (t.verb = 'node-delete' and exists (select 1 from tasks b
    where b.cluster_id = t.cluster_id and b.verb = 'node-ban' and b.subject = t.subject and b.done_at is null
      and not (b.reason is not null and exists (select 1 from clusters c where c.id = b.cluster_id and c.access_sealed is not null))))`

/** A live node credential, and whether its cluster has something to do now. */
export type PollRow = { n: number; cluster_id: string; due: boolean }

const polls = `
select q.n::int, e.cluster_id, exists (select 1 from tasks t where t.cluster_id = e.cluster_id and ${due('$2')}) as due
from unnest($1::text[]) with ordinality as q(node_hash, n)
join enrollments e on e.node_hash = decode(q.node_hash, 'hex') and ${goodCredential}`

/**
 * The one select of a poll, shared by those that arrive together.
 * @param hashes of node credentials, hex
 * @param now Unix seconds
 */
export async function selectPolls(sql: Sql, hashes: readonly string[], now: number): Promise<(PollRow | undefined)[]> {
  const rows = await sql.unsafe<PollRow[]>(polls, [hashes as never, now], { prepare: true })
  const results: (PollRow | undefined)[] = hashes.map(() => undefined)
  for (const row of rows) results[row.n - 1] = row
  return results
}

/** A task as it is handed out. */
export type TakenTask = {
  id: string
  verb: TaskVerb
  subject: string
  secret_sealed: Uint8Array | null
  /** Unix seconds */
  expires_at: number | null
}

const take = (whose: string) => `
with whose as (${whose}
), waiting as (
  select t.id from tasks t join whose w on w.cluster_id = t.cluster_id where ${due('$2')}
  order by t.id limit ${mostTaken} for update of t skip locked
), taken as (
  update tasks t set sent_at = to_timestamp($2), attempts = t.attempts + 1, result = null
  from waiting w where w.id = t.id returning t.*
)
select t.id, t.verb, t.subject, t.secret_sealed, extract(epoch from t.expires_at)::float8 as expires_at
from whose left join taken t on true order by t.verb, t.id`

const takeByCredential = take(
  `select e.cluster_id from enrollments e where e.node_hash = decode($1, 'hex') and ${goodCredential}`,
)
const takeByCluster = take('select $1::text as cluster_id')

/**
 * Takes what is due for the cluster of a node credential: nobody else gets it for a while.
 * @returns undefined if the credential ended
 */
export const takeTasks = (sql: Sql, nodeHash: string, now: number) => taken(sql, takeByCredential, nodeHash, now)

/** The same for a cluster whose API the roll calls itself. */
export const takeTasksOf = async (sql: Sql, clusterId: string, now: number): Promise<TakenTask[]> =>
  (await taken(sql, takeByCluster, clusterId, now)) ?? []

async function taken(sql: Sql, text: string, whose: string, now: number): Promise<TakenTask[] | undefined> {
  const rows = await sql.unsafe<(TakenTask | { id: null })[]>(text, [whose, now], { prepare: true })
  if (rows.length === 0) return undefined
  return rows.filter((row): row is TakenTask => row.id !== null)
}

const clusters = `select distinct t.cluster_id from tasks t where ${due('$1')}`

/** The clusters that have something to do now. */
export async function dueClusters(sql: Sql, now: number): Promise<string[]> {
  const rows = await sql.unsafe<{ cluster_id: string }[]>(clusters, [now], { prepare: true })
  return rows.map(({ cluster_id }) => cluster_id)
}
