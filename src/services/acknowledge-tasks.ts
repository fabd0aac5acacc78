import type { TaskResult } from '../roll/task-result.ts'
import type { Drizzle } from '../store/database.ts'
import { type NewEvent, recordEvents } from '../store/events.ts'
import { failTasks, finishTasks, type GivenTask, lockTasks, noteDeleted, notePublished } from '../store/task-results.ts'
import type { TaskVerb } from '../store/tasks.ts'
import { date } from '../store/time.ts'
import type { Context } from './context.ts'
import { queueTask, type Task, wakeCluster } from './queue-task.ts'
import { rollTransaction } from './roll-transaction.ts'

/** What a device's timeline says of a task that was done. */
const done: Record<TaskVerb, string> = {
  'token-create': 'join.published',
  'token-delete': 'join.deleted',
  'node-delete': 'node.deleted',
  'node-ban': 'node.banned',
}

const failed: Record<TaskVerb, string> = {
  'token-create': 'join.not_published',
  'token-delete': 'join.not_deleted',
  'node-delete': 'node.not_deleted',
  'node-ban': 'node.not_banned',
}

/**
 * Takes what a cluster says of its tasks. What is done already, superseded, or another cluster's changes nothing, so saying it twice
 * is harmless. What failed is handed out again, less and less often, and its reason is shown.
 */
export async function acknowledgeTasks(
  context: Context,
  clusterId: string,
  results: readonly TaskResult[],
): Promise<void> {
  const said = new Map(results.map((result) => [result.id, result]))
  const again = await rollTransaction(context, async (tx) => {
    const given = await lockTasks(tx, clusterId, [...said.keys()])
    const open = given.filter((task) => !task.done)
    await finish(
      context,
      tx,
      open.filter(({ id }) => said.get(id)?.ok),
    )
    await fail(
      context,
      tx,
      open.filter(({ id }) => !said.get(id)?.ok),
      said,
    )
    const late = given.filter((task) => said.get(task.id)?.ok && isPublishedTooLate(task))
    const deletions = late.map((task) => deletion(clusterId, task))
    await queueTask(context, tx, ...deletions)
    return deletions.length > 0
  })
  if (again) wakeCluster(context, clusterId)
}

async function finish({ now }: Context, tx: Drizzle, given: readonly GivenTask[]): Promise<void> {
  const at = date(now())
  await finishTasks(
    tx,
    given.map(({ id }) => id),
    at,
  )
  const of = (verb: TaskVerb) =>
    given.flatMap((task) =>
      task.verb === verb && task.enrollmentId !== null ? [{ ...task, enrollmentId: task.enrollmentId }] : [],
    )
  const published = of('token-create').map(({ enrollmentId, expiresAt }) => ({
    enrollmentId,
    until: expiresAt as number,
  }))
  await notePublished(tx, published, at)
  await noteDeleted(
    tx,
    of('token-delete').map(({ enrollmentId }) => enrollmentId),
    at,
  )
  await recordEvents(
    tx,
    at,
    given.flatMap((task) => news(task, done[task.verb], 'ok', detailOf(task))),
  )
}

async function fail(
  { now }: Context,
  tx: Drizzle,
  given: readonly GivenTask[],
  said: ReadonlyMap<string, TaskResult>,
): Promise<void> {
  const reasonOf = ({ id }: GivenTask) => said.get(id)?.reason ?? ''
  await failTasks(
    tx,
    given.map((task) => ({ id: task.id, reason: reasonOf(task) })),
  )
  // Once a task: it is tried again for as long as it takes.
  const first = given.filter((task) => !task.failed)
  await recordEvents(
    tx,
    date(now()),
    first.flatMap((task) => news(task, failed[task.verb], 'fail', { detail: reasonOf(task) })),
  )
}

const detailOf = ({ verb, subject, expiresAt }: GivenTask) => {
  if (verb === 'token-create') return { token: subject, until: expiresAt as number }
  return verb === 'token-delete' ? { token: subject } : { node: subject }
}

function news({ deviceId, enrollmentId }: GivenTask, name: string, result: 'ok' | 'fail', detail: unknown): NewEvent[] {
  return deviceId === null ? [] : [{ deviceId, enrollmentId, name, result, detail }]
}

// A server that was slow has published what another one deleted meanwhile.
const isPublishedTooLate = ({ verb, deleted }: GivenTask) => verb === 'token-create' && deleted

function deletion(clusterId: string, { subject, enrollmentId }: GivenTask): Task {
  return { clusterId, verb: 'token-delete', subject, ...(enrollmentId === null ? {} : { enrollmentId }) }
}
