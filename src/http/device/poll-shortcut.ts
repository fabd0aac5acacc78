import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { TaskPolls, Wait } from '../../services/poll-tasks.ts'
import { accountFor, type Edge } from '../edge.ts'
import { hasContent, linesOf } from '../raw-headers.ts'
import type { Shortcut } from '../shortcut.ts'
import { credentialIn } from './node-credential.ts'
import { taskAnswer, taskWait } from './tasks.ts'

const form = /^\/v1\/tasks(?:\?wait=(\d{1,6}))?$/
const asked = { method: 'GET', route: '/v1/tasks' }

/**
 * Answers task polls on their sockets. Ten thousand are held at a time, and what the framework keeps of a request that waits, its chain of
 * promises, closures and headers, takes as much memory as the rest of its connection. What is not plain goes the long way (tasks.ts), and so
 * does each refusal.
 */
export function pollShortcut({ polls, ...edge }: { polls: Pick<TaskPolls, 'poll'> } & Edge): Shortcut {
  return (incoming, outgoing, pass) => {
    const url = incoming.method === 'GET' ? form.exec(incoming.url ?? '') : null
    const [credential, wait] = url ? [credentialIn(incoming.rawHeaders), taskWait(url[1])] : []
    if (!credential || wait === undefined || edge.draining()) return false
    if (hasContent((name) => linesOf(incoming.rawHeaders, name)[0])) return false
    const started = performance.now()
    polls.poll(credential, wait).then((found) => serve(edge, outgoing, started, found), pass)
    return true
  }
}

function serve(edge: Edge, outgoing: ServerResponse, started: number, found: string | Wait): void {
  if (typeof found === 'string') answer(edge, outgoing, started, found)
  else hold(edge, outgoing, started, found)
}

// In a function of its own: a closure keeps all that its neighbours see.
function hold(edge: Edge, outgoing: ServerResponse, started: number, begin: Wait): void {
  let poll: ReturnType<Wait> | undefined
  const gone = () => void poll?.release()
  // Node tells a response of its connection's end only once all before it are sent, the request always.
  const { req } = outgoing
  poll = begin((lines) => {
    req.removeListener('close', gone)
    answer(edge, outgoing, started, lines)
  })
  req.on('close', gone)
  if (req.destroyed) gone()
}

function answer(edge: Edge, outgoing: ServerResponse, started: number, lines: string): void {
  const { status, headers, body } = taskAnswer(lines, edge.now())
  if (!outgoing.destroyed) outgoing.writeHead(status, headers).end(body)
  accountFor(edge, { ...asked, started, request_id: randomUUID() }, status)
}
