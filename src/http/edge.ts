import type { Context, MiddlewareHandler } from 'hono'
import { matchedRoutes } from 'hono/route'
import type { Logger } from 'pino'
import { AppError } from '../errors.ts'
import type { Metrics } from './ops/metrics.ts'
import type { RequestVars } from './request-id.ts'

/** What every request passes on both listeners. */
export type Edge = {
  log: Logger
  metrics: Metrics
  /** True once the server is told to end. */
  draining: () => boolean
  /** Unix seconds */
  now: () => number
}

/** Methods that are not a label of their own, so that nobody can fill the metrics with invented ones. */
const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Asked by every box and every probe, changing nothing, or told on a timeline: a line each would bury the others. */
const routine = new Set([
  '/v1/challenge',
  '/v1/report/:token',
  '/v1/tasks',
  '/v1/nodes',
  '/healthz',
  '/readyz',
  '/metrics',
])

/**
 * Logs and counts each request by its route's pattern: paths hold report and boot tokens, and serials.
 * Comes right after `requestId()`.
 */
export const observed = (edge: Pick<Edge, 'log' | 'metrics'>): MiddlewareHandler<{ Variables: RequestVars }> => {
  // Of a line of these five members none can be a secret, and looking for names of secrets in it takes twice as long as writing it.
  const lines = { ...edge, log: edge.log.child({}, { redact: [] }) }
  return async (c, next) => {
    const started = performance.now()
    await next()
    const method = methods.has(c.req.method) ? c.req.method : 'OTHER'
    accountFor(lines, { started, method, route: patternOf(c), request_id: c.get('requestId') }, c.res.status)
  }
}

type Asked = { started: number; method: string; route: string; request_id: string }

/** Logs and counts a request that was answered. */
export function accountFor({ log, metrics }: Pick<Edge, 'log' | 'metrics'>, asked: Asked, status: number): void {
  const { started, method, route, request_id } = asked
  const seconds = (performance.now() - started) / 1000
  metrics.observe({ method, route, status }, seconds)
  const ms = Math.round(seconds * 10_000) / 10
  const level = routine.has(route) && status < 400 ? 'debug' : 'info'
  log[level]({ request_id, method, route, status, ms }, 'request')
}

/** Requests that come over kept-alive connections after the server was told to end. */
export const refusedWhileDraining = ({ draining }: Edge): MiddlewareHandler => {
  return async (c, next) => {
    if (!draining()) return next()
    c.header('Connection', 'close')
    throw new AppError('shutting_down')
  }
}

// Middleware is registered for all methods, handlers for one.
const patternOf = (c: Context) => matchedRoutes(c).findLast((route) => route.method !== 'ALL')?.path ?? 'none'
