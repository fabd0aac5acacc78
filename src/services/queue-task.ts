import { newId } from '../ids.ts'
import type { Drizzle } from '../store/database.ts'
import { insertTasks, type NewTask, type TaskVerb } from '../store/tasks.ts'
import type { Context } from './context.ts'

/** Something that a cluster must do for the roll. */
export type Task = {
  clusterId: string
  verb: TaskVerb
  /** Of a token its id, else the Node's name */
  subject: string
  /** token-create: the token's secret half */
  secret?: string
  /** token-create: when K3s shall refuse it, Unix seconds */
  expiresAt?: number
  /** Whose token or Node it is */
  enrollmentId?: string
}

type Deps = Pick<Context, 'vault' | 'now' | 'random'>

/**
 * Queues a task for the servers of a cluster, in the transaction of what asks for it; `wakeCluster` after the commit makes it
 * be fetched at once. The same task twice is one task: a later `token-create` gives the waiting one its time, a `token-delete` takes its place.
 */
export async function queueTask(deps: Deps, tx: Drizzle, ...tasks: readonly Task[]): Promise<void> {
  await insertTasks(
    tx,
    tasks.map((task) => newTask(deps, task)),
  )
}

/** The row of a task, its secret sealed in place. */
export function newTask({ vault, now, random }: Deps, task: Task): NewTask {
  const at = now()
  const id = newId('tsk', at, random(12))
  const { secret, expiresAt = null, enrollmentId = null } = task
  return {
    id,
    cluster_id: task.clusterId,
    verb: task.verb,
    subject: task.subject,
    secret_sealed: secret === undefined ? null : Buffer.from(vault.seal(secretPlace(id), secret)).toString('base64'),
    expires_at: expiresAt,
    enrollment_id: enrollmentId,
    at,
  }
}

/** Where a token-create's secret is sealed. */
export const secretPlace = (taskId: string): string => `tasks/${taskId}/secret`

/**
 * Tells whoever holds a poll of the cluster that there is something to fetch; called after the commit. Without it the next sweep of
 * the held polls finds the task (5 s).
 */
export function wakeCluster({ wake }: Pick<Context, 'wake'>, clusterId: string): void {
  wake?.(clusterId)
}
