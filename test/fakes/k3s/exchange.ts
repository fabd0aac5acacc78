import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { isUnavailable } from '../../kine/grpc.ts'
import { ApiError } from './store.ts'

/** One request, its body read whole. */
export type Ask = {
  method: string
  path: string
  query: URLSearchParams
  headers: Http2ServerRequest['headers']
  body: Buffer
  socket: TLSSocket
}

export type Reply = { status: number; type: string; body: string | Buffer; headers?: Record<string, string> }

export async function readAsk(request: Http2ServerRequest): Promise<Ask> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const { pathname, searchParams } = new URL(request.url, 'https://k3s')
  return {
    method: request.method,
    path: pathname,
    query: searchParams,
    headers: request.headers,
    body: Buffer.concat(chunks),
    // HTTP/2's compatibility socket hides the certificate.
    socket: (request.stream?.session?.socket ?? request.socket) as TLSSocket,
  }
}

export function send(response: Http2ServerResponse, { status, type, body, headers = {} }: Reply): void {
  response.writeHead(status, { 'content-type': type, ...headers, 'content-length': Buffer.byteLength(body) })
  response.end(body)
}

export const plain = (body: string, type = 'text/plain; charset=utf-8'): Reply => ({ status: 200, type, body })
export const json = (value: unknown, status = 200): Reply => ({
  status,
  type: 'application/json',
  body: `${JSON.stringify(value)}\n`,
})

/** K3s' supervisor writes its refusals on several lines, and ends them without one. */
export const supervisorStatus = ({ code, reason, message }: ApiError): Reply => ({
  status: code,
  type: 'application/json',
  body: JSON.stringify({ kind: 'Status', metadata: {}, status: 'Failure', message, reason, code }, undefined, 2),
})

export const apiStatus = ({ code, reason, message }: ApiError): Reply =>
  json({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code }, code)

/** What went wrong as a refusal; a datastore that is away is 503. */
export function refusalOf(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (isUnavailable(error)) return new ApiError(503, 'ServiceUnavailable', 'apiserver not ready')
  return new ApiError(500, 'InternalError', String(error))
}
