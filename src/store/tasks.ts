import { sql } from 'drizzle-orm'
import type { Sql } from 'postgres'
import type { Drizzle } from './database.ts'

export const taskVerbs = ['token-create', 'token-delete', 'node-delete', 'node-ban'] as const
export type TaskVerb = (typeof taskVerbs)[number]

/** One task to queue. Times are Unix seconds; `secret_sealed` is base64, sealed for `tasks/<id>/secret`. */
export type NewTask = {
  id: string
  cluster_id: string
  verb: TaskVerb
  subject: string
  secret_sealed: string | null
  expires_at: number | null
  enrollment_id: string | null
  at: number
}

const columns = sql`as i(id text, cluster_id text, verb text, subject text, secret_sealed text, expires_at float8,
  enrollment_id text, at float8)`

/**
 * Queues tasks; of a kind that waits already there stays one. A deletion ends the publication that still waits, and is never undone by one.
 * A token that is to live to another time, and that a server may be publishing right now, becomes a task of its own: the word of that
 * server is about the time it was given.
 */
export async function insertTasks(tx: Drizzle, tasks: readonly NewTask[]): Promise<void> {
  if (tasks.length === 0) return
  const input = sql`json_to_recordset(${JSON.stringify(tasks)}::text::json) ${columns}`
  await tx.execute(sql`
    update tasks t set done_at = to_timestamp(i.at), result = 'superseded', secret_sealed = null
    from ${input}
    where t.cluster_id = i.cluster_id and t.subject = i.subject and t.verb = 'token-create' and t.done_at is null
      and (i.verb = 'token-delete'
        or (i.verb = 'token-create' and t.sent_at is not null and t.expires_at <> to_timestamp(i.expires_at)))`)
  await tx.execute(sql`
    insert into tasks as t (id, cluster_id, verb, subject, secret_sealed, expires_at, enrollment_id, created_at)
    select i.id, i.cluster_id, i.verb, i.subject, decode(i.secret_sealed, 'base64'), to_timestamp(i.expires_at), i.enrollment_id,
      to_timestamp(i.at)
    from ${input}
    where i.verb <> 'token-create' or not exists (
      select 1 from tasks d where d.cluster_id = i.cluster_id and d.verb = 'token-delete' and d.subject = i.subject
        and d.done_at is null)
    on conflict (cluster_id, verb, subject) where done_at is null do update set expires_at = excluded.expires_at
    where t.expires_at is distinct from excluded.expires_at`)
}

/** Tasks of all clusters that are not done. */
export async function countWaitingTasks(client: Sql): Promise<number> {
  const [row] = await client<{ count: number }[]>`select count(*)::int as count from tasks where done_at is null`
  return row?.count ?? 0
}
