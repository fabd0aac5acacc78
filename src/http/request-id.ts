import { randomUUID } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'

export type RequestVars = { requestId: string }

/**
 * Names each request, for problems and the log. Never taken from the request, so that nobody can write into the log with it;
 * never a header of its own, because refusals that must look alike may differ in the body's `request_id` alone.
 */
export const requestId = (): MiddlewareHandler<{ Variables: RequestVars }> => async (c, next) => {
  c.set('requestId', randomUUID())
  await next()
}
