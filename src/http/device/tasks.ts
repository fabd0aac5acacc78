import { Hono } from 'hono'
import { AppError } from '../../errors.ts'
import { readTaskResults } from '../../roll/task-result.ts'
import type { NodeCredentials } from '../../services/node-credential.ts'
import type { TaskPolls, Wait } from '../../services/poll-tasks.ts'
import { readBody } from '../body.ts'
import { hasContent } from '../raw-headers.ts'
import { nodeCredential } from './node-credential.ts'

export type TaskDeps = {
  polls: Pick<TaskPolls, 'poll'>
  nodes: NodeCredentials
  /** Unix seconds */
  now: () => number
  acknowledge: (clusterId: string, results: ReturnType<typeof readTaskResults> & object) => Promise<void>
}

/** Seconds that a poll is held where it names none, and at most: proxies cut silent connections after a minute. */
const waits = { usual: 25, most: 55 } as const

/** Bytes of an answer to tasks: hundreds of lines with long reasons. */
const limit = 262_144

export const taskRoutes = ({ polls, nodes, acknowledge, now }: TaskDeps) =>
  new Hono()
    .get('/v1/tasks', async (c) => {
      const credential = nodeCredential(c)
      // It means nothing (RFC 9110 §9.3.1), nobody reads it while a poll is held, and what fills the socket hides its client's going.
      if (hasContent((name) => c.req.header(name))) {
        await nodes.check(credential)
        throw new AppError('request_invalid', { detail: 'a poll has no body' })
      }
      // Its answer has no lines, and tasks that nobody reads would rest until they are given out again.
      if (c.req.method === 'HEAD') {
        await nodes.check(credential)
        return c.body(null, 204, { 'Cache-Control': 'no-store' })
      }
      const wait = taskWait(c.req.query('wait'))
      if (wait === undefined) {
        await nodes.check(credential)
        throw new AppError('request_invalid', { detail: 'wait is a number of seconds' })
      }
      const found = await polls.poll(credential, wait)
      const { status, headers, body } = taskAnswer(
        typeof found === 'string' ? found : await held(found, c.req.raw.signal),
        now(),
      )
      return new Response(body, { status, headers })
    })
    .post('/v1/tasks', async (c) => {
      const { clusterId } = await nodes.check(nodeCredential(c))
      const results = readTaskResults(new TextDecoder().decode(await readBody(c, limit, { code: 'body_too_large' })))
      if (!results) throw new AppError('request_invalid', { detail: 'lines are tsk_… ok, or tsk_… fail <reason>' })
      await acknowledge(clusterId, results)
      return c.body(null, 204)
    })

/** What a poll is answered with in the end. */
export type TaskAnswer = { status: 200 | 204; headers: Record<string, string>; body: string | null }

/** @param lines one task a line, `''` for nothing to do */
export function taskAnswer(lines: string, now: number): TaskAnswer {
  const headers = { 'Cache-Control': 'no-store', 'Rollcall-Time': String(now) }
  if (lines === '') return { status: 204, headers, body: null }
  const length = String(Buffer.byteLength(lines))
  return {
    status: 200,
    headers: { ...headers, 'Content-Type': 'text/plain; charset=utf-8', 'Content-Length': length },
    body: lines,
  }
}

/** Seconds that a poll may be held; undefined for what is no number of seconds. */
export function taskWait(text: string | undefined): number | undefined {
  if (text === undefined) return waits.usual
  return /^\d{1,6}$/.test(text) ? Math.min(Number(text), waits.most) : undefined
}

/** The few that do not come the short way: without a socket, or not plain. */
function held(begin: Wait, gone: AbortSignal): Promise<string> {
  return new Promise((resolve) => {
    const poll = begin(resolve)
    const leave = () => {
      poll.release()
      resolve('')
    }
    gone.addEventListener('abort', leave)
    if (gone.aborted) leave()
  })
}
