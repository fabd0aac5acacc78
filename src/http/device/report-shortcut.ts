import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { AppError } from '../../errors.ts'
import { bodyPatience } from '../body.ts'
import { accountFor, type Edge } from '../edge.ts'
import type { Shortcut } from '../shortcut.ts'
import { type ReportDeps, reportLimit } from './report.ts'

const form = /^\/v1\/report\/([A-Za-z0-9_-]{16,128})$/
const asked = { method: 'POST', route: '/v1/report/:token' }

/**
 * Takes reports from their sockets: cloud-init posts some sixty a box, each on a connection of its own, and what router, middlewares and a web
 * stream cost a request that is one line long is more than reading it. What is not plain goes the long way (report.ts), and so does each refusal.
 */
export function reportShortcut({ report, ...edge }: ReportDeps & Edge): Shortcut {
  return (incoming, outgoing, pass) => {
    const token = incoming.method === 'POST' ? form.exec(incoming.url ?? '')?.[1] : undefined
    if (token === undefined || !isPlain(incoming) || edge.draining()) return false
    const started = performance.now()
    const take = async () => {
      await report(token, new TextDecoder().decode(await wholeBody(incoming, outgoing)))
      answer(edge, outgoing, started)
    }
    take().catch(pass)
    return true
  }
}

function isPlain({ headers }: IncomingMessage): boolean {
  const length = headers['content-length']
  return length !== undefined && Number(length) <= reportLimit
}

// Its length was announced, and Node takes no more than that.
function wholeBody(incoming: IncomingMessage, outgoing: ServerResponse): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const refuse = (detail: string) => {
      clearTimeout(timer)
      outgoing.shouldKeepAlive = false
      reject(new AppError('request_invalid', { detail }))
    }
    const timer = setTimeout(refuse, bodyPatience, 'the body took too long')
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.once('end', () => {
      clearTimeout(timer)
      resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks))
    })
    incoming.once('error', () => refuse('the body ended too early'))
  })
}

function answer(edge: Edge, outgoing: ServerResponse, started: number): void {
  if (!outgoing.destroyed) outgoing.writeHead(204, { 'Rollcall-Time': edge.now() }).end()
  accountFor(edge, { ...asked, started, request_id: randomUUID() }, 204)
}
