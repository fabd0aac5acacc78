import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Context } from 'hono'
import type { Late, RequestVars } from './request-id.ts'

/** What a request that was kept waiting is answered with in the end. */
export type LateAnswer = { status: 200 | 204; headers: Record<string, string>; body: string | null }

/** Begins to wait. @returns what ends it when the client goes away */
export type Begin = (settle: (answer: LateAnswer) => void) => () => void

/**
 * Answers a request later, straight to its socket. The framework's chain of promises and closures ends now: kept for a held request, it takes
 * more memory than the TLS connection, and its garbage has grown old by the time it is dropped.
 */
export function answerLater(c: Context<{ Variables: RequestVars }>, begin: Begin): Response | Promise<Response> {
  const { outgoing } = (c.env ?? {}) as Partial<HttpBindings>
  if (!outgoing) return waitForIt(c.req.raw.signal, begin)
  const late: Late = {}
  c.set('late', late)
  sendLater(outgoing, late, begin)
  return RESPONSE_ALREADY_SENT
}

// In a function of its own: a closure keeps all that its neighbours see.
function sendLater(outgoing: HttpBindings['outgoing'], late: Late, begin: Begin): void {
  const release = begin(({ status, headers, body }) => {
    outgoing.removeListener('close', release)
    if (!outgoing.destroyed) outgoing.writeHead(status, headers as never).end(body)
    late.answered?.(status)
  })
  outgoing.once('close', release)
}

/** Called without a socket, by tests. */
function waitForIt(gone: AbortSignal, begin: Begin): Promise<Response> {
  return new Promise((resolve) => {
    const release = begin(({ status, headers, body }) => resolve(new Response(body, { status, headers })))
    gone.addEventListener('abort', () => {
      release()
      resolve(new Response(null, { status: 204 }))
    })
  })
}
