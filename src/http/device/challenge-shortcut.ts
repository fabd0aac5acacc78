import type { ServerResponse } from 'node:http'
import type { Edge } from '../edge.ts'
import type { Shortcut } from '../shortcut.ts'
import { type ChallengeDeps, challenger } from './challenge.ts'

const path = '/v1/challenge'
const counted = { method: 'GET', route: path, status: 200 }

/**
 * Answers exactly `GET /v1/challenge` before router and middlewares, which cost more than making a nonce does: every box that waits asks it again
 * and again. The answer and what is counted are those of the long way (challenge.ts), which serves whatever is not plain: HEAD, other
 * methods, a query, a server that logs each request or is told to end.
 */
export function challengeShortcut(deps: ChallengeDeps & Edge): Shortcut {
  const { log, metrics, draining } = deps
  const challenge = challenger(deps)
  return (incoming, outgoing) => {
    const plain = incoming.url === path && incoming.method === 'GET'
    if (!plain || draining() || log.isLevelEnabled('debug')) return false
    const started = performance.now()
    answer(outgoing, challenge())
    metrics.observe(counted, (performance.now() - started) / 1000)
    return true
  }
}

function answer(outgoing: ServerResponse, challenge: { nonce: string; server_time: number }): void {
  const body = JSON.stringify(challenge)
  outgoing.writeHead(200, {
    'cache-control': 'no-store',
    'content-length': body.length,
    'content-type': 'application/json',
    'rollcall-nonce': challenge.nonce,
    'rollcall-time': challenge.server_time,
  })
  outgoing.end(body)
}
