import type { Context, ErrorHandler, NotFoundHandler } from 'hono'
import { TrieRouter } from 'hono/router/trie-router'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { Logger } from 'pino'
import { AppError, type Code } from '../errors.ts'
import { describeCause, toAppError } from './error-cause.ts'

/** Seconds to wait by code, before jitter, where the refusal names none. */
const patience: Partial<Record<Code, number>> = { pending_approval: 30, cluster_not_ready: 10, shutting_down: 5 }

// The rest of these paths is a device's secret, and problems end up in consoles and bug reports.
const secretPath = /^(\/v1\/(?:report|boot))\/.*/

/**
 * Writes a refusal: RFC 9457, or one line for `Accept: text/plain`. Nothing else in Rollcall writes problems.
 * Headers that were set on the context before (`Rollcall-Time`, `Rollcall-Nonce`) stay.
 */
export function problem(c: Context, error: AppError, headers: Record<string, string> = {}): Response {
  const status = error.status as ContentfulStatusCode
  const all: Record<string, string> = { ...headers }
  if (status === 503) all['Retry-After'] = String(retryAfter(error))
  if (error.code === 'token_invalid' || error.code === 'credential_invalid') all['WWW-Authenticate'] = 'Bearer'
  const text = wantsText(c.req.header('accept'))
  const body = text ? textForm(error, isDetailed(c, error)) : JSON.stringify(jsonForm(c, error))
  all['Content-Type'] = text ? 'text/plain; charset=utf-8' : 'application/problem+json'
  // HEAD would lose it with the body.
  if (c.req.method === 'HEAD') all['Content-Length'] = String(Buffer.byteLength(body))
  return c.body(body, status, all)
}

/** The one line that shells and consoles show: `code: detail`, or the code alone. */
export function textForm(error: AppError, detailed = false): string {
  const detail = (detailed ? detailOf(error) : error.detail)?.replace(/\s+/g, ' ').trim()
  return detail ? `${error.code}: ${detail}` : error.code
}

/** For `app.onError`: answers whatever was thrown, and logs what only the server may know. */
export function onError(log: Logger): ErrorHandler {
  return (thrown, c) => {
    const error = toAppError(thrown)
    const about = { request_id: c.get('requestId'), code: error.code }
    if (error.code === 'internal') log.error({ ...about, err: describeCause(error.cause) }, 'request failed')
    else if (error.status === 503 && error.cause) log.warn({ ...about, err: describeCause(error.cause) }, 'refused')
    return problem(c, error)
  }
}

/** Whatever has routes: an app of any environment. */
type Routed = { routes: readonly { method: string; path: string }[] }

/** For `app.notFound`: 404, or 405 with `Allow` where the path answers other methods. Call it after all routes are there. */
export function notFound(app: Routed): NotFoundHandler {
  let methods: TrieRouter<string> | undefined
  return (c) => {
    methods ??= methodsByPath(app)
    const allowed = new Set(methods.match('GET', c.req.path)[0].map(([method]) => method as unknown as string))
    if (allowed.has('GET')) allowed.add('HEAD')
    if (allowed.size === 0) return problem(c, new AppError('not_found'))
    return problem(c, new AppError('method_not_allowed'), { Allow: [...allowed].sort().join(', ') })
  }
}

function methodsByPath(app: Routed): TrieRouter<string> {
  const router = new TrieRouter<string>()
  const known = app.routes.filter((route) => route.method !== 'ALL')
  for (const key of new Set(known.map(({ method, path }) => `${method} ${path}`))) {
    const [method = '', path = ''] = key.split(' ')
    router.add('GET', path, method)
  }
  return router
}

function jsonForm(c: Context, error: AppError) {
  const path = new URL(c.req.url).pathname
  return {
    type: `urn:rollcall:problem:${error.code}`,
    title: error.title,
    status: error.status,
    detail: isDetailed(c, error) ? detailOf(error) : error.detail,
    instance: path.replace(secretPath, '$1'),
    code: error.code,
    request_id: c.get('requestId') ?? '',
    errors: error.errors,
  }
}

// What is proved by a signature says nothing of its failure before that: these routes give a detail only where one was meant.
const proved = new Set(['/v1/claim', '/v1/join'])

const isDetailed = (c: Context, { code }: AppError) => code !== 'internal' && !proved.has(c.req.path)

/** The refusal's own words, else its first reason, else what its code means. */
function detailOf(error: AppError): string {
  const [first] = error.errors ?? []
  return error.detail ?? (first && [first.path, first.reason].filter(Boolean).join(': ')) ?? error.title
}

function retryAfter(error: AppError): number {
  const base = error.retryAfter ?? patience[error.code] ?? 3
  return Math.max(1, Math.ceil(base * (1 + Math.random() / 2)))
}

function wantsText(accept = ''): boolean {
  const qualities = new Map<string, number>()
  for (const part of accept.toLowerCase().split(',')) {
    const [type = '', ...parameters] = part.split(';').map((text) => text.trim())
    const q = parameters.find((p) => p.startsWith('q='))
    qualities.set(type, q === undefined ? 1 : Number(q.slice(2)) || 0)
  }
  const json = Math.max(qualities.get('application/json') ?? 0, qualities.get('application/problem+json') ?? 0)
  return (qualities.get('text/plain') ?? 0) > json
}
