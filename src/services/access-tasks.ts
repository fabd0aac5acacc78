import type { TaskResult } from '../roll/task-result.ts'
import { mostTaken, type TakenTask, takeTasksOf } from '../store/task-queue.ts'
import { acknowledgeTasks } from './acknowledge-tasks.ts'
import { banNode, deleteNode, deleteToken, publishToken } from './cluster-api.ts'
import type { Context } from './context.ts'
import { type KubeClient, KubeError } from './kube-client.ts'
import { taskSecret } from './task-line.ts'

/** Calls at a time. */
const together = 8

/**
 * Runs what waits for a cluster by its API, and answers for it as its servers would.
 * What the cluster did not answer to stays taken, and comes again after a minute.
 * @throws KubeError `away`, once what was done is answered for
 */
export async function runAccessTasks(context: Context, kube: KubeClient, clusterId: string): Promise<void> {
  for (let more = true; more; ) {
    const tasks = await takeTasksOf(context.sql, clusterId, context.now())
    more = tasks.length === mostTaken
    const { results, away } = await runAll(context, kube, tasks)
    if (results.length > 0) await acknowledgeTasks(context, clusterId, results)
    if (away) throw away
  }
}

async function runAll(context: Context, kube: KubeClient, tasks: readonly TakenTask[]) {
  const results: TaskResult[] = []
  const waiting = [...tasks]
  let away: unknown
  const worker = async () => {
    for (let task = waiting.shift(); task && !away; task = waiting.shift()) {
      try {
        results.push(await run(context, kube, task))
      } catch (error) {
        away = error
      }
    }
  }
  await Promise.all(Array.from({ length: together }, worker))
  return { results, away }
}

async function run({ vault }: Context, kube: KubeClient, task: TakenTask): Promise<TaskResult> {
  const { id, verb, subject } = task
  const secret = verb === 'token-create' ? taskSecret(vault, task) : undefined
  try {
    if (secret !== undefined) await publishToken(kube, { id: subject, secret, expiresAt: task.expires_at as number })
    else if (verb === 'token-delete') await deleteToken(kube, subject)
    else if (verb === 'node-delete') await deleteNode(kube, subject)
    else await banNode(kube, subject)
    return { id, ok: true, reason: null }
  } catch (error) {
    if (!(error instanceof KubeError) || error.kind === 'away') throw error
    // Kubernetes may quote what it refuses.
    const says = secret !== undefined && error.message.includes(secret) ? 'the cluster refuses it' : error.message
    return { id, ok: false, reason: verb === 'node-ban' ? `${says}; see the access manifest, --with-bans` : says }
  }
}
