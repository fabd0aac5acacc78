import { Hono } from 'hono'
import { AppError } from '../../errors.ts'
import { readTaskResults } from '../../roll/task-result.ts'
import type { NodeCredentials } from '../../services/node-credential.ts'
import type { TaskPolls } from '../../services/poll-tasks.ts'
import { readBody } from '../body.ts'
import { nodeCredential } from './node-credential.ts'

export type TaskDeps = {
  polls: Pick<TaskPolls, 'poll'>
  nodes: NodeCredentials
  acknowledge: (clusterId: string, results: ReturnType<typeof readTaskResults> & object) => Promise<void>
}

/** Seconds that a poll is held where it names none, and at most: proxies cut silent connections after a minute. */
const wait = { usual: 25, most: 55 } as const

/** Bytes of an answer to tasks: hundreds of lines with long reasons. */
const limit = 262_144

export const taskRoutes = ({ polls, nodes, acknowledge }: TaskDeps) =>
  new Hono()
    .get('/v1/tasks', async (c) => {
      const credential = nodeCredential(c)
      // Its answer has no lines, and tasks that nobody reads would rest until they are given out again.
      if (c.req.method === 'HEAD') {
        await nodes.check(credential)
        return c.body(null, 204, { 'Cache-Control': 'no-store' })
      }
      const lines = await polls.poll(credential, seconds(c.req.query('wait')), c.req.raw.signal)
      if (lines === '') return c.body(null, 204, { 'Cache-Control': 'no-store' })
      return c.body(lines, 200, { 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store' })
    })
    .post('/v1/tasks', async (c) => {
      const { clusterId } = await nodes.check(nodeCredential(c))
      const results = readTaskResults(new TextDecoder().decode(await readBody(c, limit, { code: 'body_too_large' })))
      if (!results) throw new AppError('request_invalid', { detail: 'lines are tsk_… ok, or tsk_… fail <reason>' })
      await acknowledge(clusterId, results)
      return c.body(null, 204)
    })

function seconds(text: string | undefined): number {
  if (text === undefined) return wait.usual
  if (!/^\d{1,6}$/.test(text)) throw new AppError('request_invalid', { detail: 'wait is a number of seconds' })
  return Math.min(Number(text), wait.most)
}
