import { createRoute, OpenAPIHono, type RouteConfig, type z } from '@hono/zod-openapi'
import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import { AppError, type Code } from '../../errors.ts'
import type { Actor } from '../../services/actor.ts'
import type { Scope } from '../../services/admin-token.ts'
import { type Admin, type AdminTokens, demandScope } from '../../services/check-admin-token.ts'
import type { Context } from '../../services/context.ts'
import type { RequestVars } from '../request-id.ts'
import { authenticate } from './auth.ts'
import { limitBody, readJson, readOptionalJson, refuseUnstorable } from './body.ts'
import { idempotent } from './idempotency.ts'
import { errorResponses, headerParameters } from './openapi.ts'
import { refuseInvalid } from './refuse-invalid.ts'

export type AdminEnv = {
  Variables: RequestVars & {
    /** Its `db` is the request's transaction where there is an Idempotency-Key: never close over another one. */
    context: Context
    tokens: AdminTokens
    admin: Admin
  }
}

export type AdminOptions = {
  scope: Scope
  /** The route's own codes; what every route may answer is added. */
  errors?: readonly Code[]
  /** The route takes `If-Match`. */
  ifMatch?: boolean
  /** The answer shows a secret once. */
  secretAnswer?: boolean
  /** The body is large and read by the handler as it comes. */
  stream?: boolean
  /** Runs around the request's transaction, i.e. ends after its commit. */
  around?: MiddlewareHandler<AdminEnv>
}

/** A resource's routes; `adminRoutes` mounts them. */
export const resource = () => new OpenAPIHono<AdminEnv>({ defaultHook: refuseInvalid })

/** A typed route with what all admin routes share: token, body rules, Idempotency-Key, and every refusal in the document. */
export function adminRoute<P extends string, R extends Omit<RouteConfig, 'path'> & AdminOptions & { path: P }>(
  config: R,
): R {
  const { scope, errors = [], ifMatch, secretAnswer, stream, around, ...route } = config
  const unsafe = route.method !== 'get'
  const hasJson = route.request?.body !== undefined && !stream
  const middleware: MiddlewareHandler[] = [identify(scope)]
  if (around) middleware.push(around)
  if (unsafe && !stream) middleware.push(limitBody)
  if (hasJson) middleware.push(route.request?.body?.required === false ? readOptionalJson : readJson)
  if (unsafe) middleware.push(idempotent({ secretAnswer: secretAnswer ?? false, stream: stream ?? false }))
  const traits = { unsafe, body: route.request?.body !== undefined, query: !!route.request?.query, ifMatch: !!ifMatch }
  return createRoute({
    ...route,
    middleware,
    security: [{ token: [scope] }],
    parameters: headerParameters(traits),
    responses: { ...errorResponses(errors, traits), ...route.responses },
  } as unknown as R)
}

/** A JSON answer, for a route's `responses`. */
export const answer = <S extends z.ZodType>(description: string, schema: S) => ({
  description,
  content: { 'application/json': { schema } },
})

/** Who asks, for services and the audit log. */
export const actor = (c: HonoContext<AdminEnv>): Actor => ({
  name: `token:${c.var.admin.name}`,
  requestId: c.var.requestId,
})

/** For what needs more than its route does. @throws AppError `forbidden` */
export const requireScope = (c: HonoContext<AdminEnv>, scope: Scope): void => demandScope(c.var.admin, scope)

function identify(scope: Scope): MiddlewareHandler<AdminEnv> {
  return async (c, next) => {
    c.set('admin', await authenticate(c, c.var.tokens, scope))
    // What cannot be stored names nothing.
    if (Object.values<string>(c.req.param()).some((value) => value.includes('\0'))) throw new AppError('not_found')
    refuseUnstorable({ query: c.req.queries() })
    await next()
  }
}
