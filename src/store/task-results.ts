import { inArray, sql } from 'drizzle-orm'
import { tasks } from './cluster-schema.ts'
import type { Drizzle } from './database.ts'
import type { TaskVerb } from './tasks.ts'

/** A task that a server answers for, locked. */
export type GivenTask = {
  id: string
  verb: TaskVerb
  subject: string
  enrollmentId: string | null
  deviceId: string | null
  /** Unix seconds */
  expiresAt: number | null
  done: boolean
  /** Its token was to be deleted since. */
  deleted: boolean
  /** It failed before. */
  failed: boolean
}

/** Those of a cluster; others are nobody's business. */
export async function lockTasks(tx: Drizzle, clusterId: string, ids: readonly string[]): Promise<GivenTask[]> {
  const rows = await tx.execute(sql`
    select t.id, t.verb, t.subject, t.enrollment_id as "enrollmentId", extract(epoch from t.expires_at)::float8 as "expiresAt",
      (select e.device_id from enrollments e where e.id = t.enrollment_id) as "deviceId",
      t.done_at is not null as done, t.reason is not null as failed,
      exists (select 1 from tasks d where d.cluster_id = t.cluster_id and d.verb = 'token-delete' and d.subject = t.subject) as deleted
    from tasks t where t.cluster_id = ${clusterId} and t.id = any(${sql.param([...ids])}::text[])
    order by t.id for update of t`)
  return rows as unknown as GivenTask[]
}

/** Done for good: nothing of a secret stays. */
export async function finishTasks(tx: Drizzle, ids: readonly string[], at: Date): Promise<void> {
  if (ids.length === 0) return
  await tx
    .update(tasks)
    .set({ doneAt: at, result: 'ok', reason: null, secretSealed: null })
    .where(inArray(tasks.id, [...ids]))
}

/** To be tried again; the reason is shown to admins. */
export async function failTasks(tx: Drizzle, failures: readonly { id: string; reason: string }[]): Promise<void> {
  if (failures.length === 0) return
  await tx.execute(sql`
    update tasks t set result = 'fail', reason = i.reason
    from json_to_recordset(${JSON.stringify(failures)}::text::json) as i(id text, reason text) where t.id = i.id`)
}

/** The tokens of these enrollments are in their cluster until then (Unix seconds). */
export async function notePublished(
  tx: Drizzle,
  tokens: readonly { enrollmentId: string; until: number }[],
  at: Date,
): Promise<void> {
  if (tokens.length === 0) return
  await tx.execute(sql`
    update enrollments e set join_published_at = coalesce(e.join_published_at, ${at.toISOString()}::timestamptz),
      join_published_until = to_timestamp(i.until)
    from json_to_recordset(${JSON.stringify(tokens)}::text::json) as i("enrollmentId" text, until float8) where e.id = i."enrollmentId"`)
}

/** The tokens of these enrollments are in no cluster any more. */
export async function noteDeleted(tx: Drizzle, enrollmentIds: readonly string[], at: Date): Promise<void> {
  if (enrollmentIds.length === 0) return
  await tx.execute(sql`
    update enrollments set join_deleted_at = ${at.toISOString()}::timestamptz
    where id = any(${sql.param([...enrollmentIds])}::text[]) and join_deleted_at is null`)
}
