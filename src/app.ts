import { OpenAPIHono } from '@hono/zod-openapi'
import type { ErrorHandler } from 'hono'
import { adminRoutes } from './http/admin/routes.ts'
import { deviceRoutes } from './http/device/routes.ts'
import { toAppError } from './http/error-cause.ts'
import { notFound, onError } from './http/problem.ts'
import { type RequestVars, requestId } from './http/request-id.ts'
import { issueNonce } from './identity/nonce.ts'
import { composer } from './services/compose-document.ts'
import type { Context } from './services/context.ts'
import { enroller } from './services/enroll.ts'
import { redactor } from './services/redact-document.ts'
import { redeem } from './services/redeem.ts'
import { reporter } from './services/report.ts'

/** The main listener's routes. Listens to nothing: tests call `app.request`. */
export function createApp(context: Context): OpenAPIHono {
  const app = new OpenAPIHono<{ Variables: RequestVars }>()
  app.use(requestId())
  app.onError(withFreshNonce(context, onError(context.log)))
  app.route(
    '/',
    deviceRoutes({
      ...context,
      enroll: enroller({ ...context, compose: composer(context) }),
      redeem: (request) => redeem(context, request),
      report: reporter({ ...context, redact: redactor(context) }),
    }),
  )
  app.route('/', adminRoutes(context))
  app.notFound(notFound(app as never))
  return app as unknown as OpenAPIHono
}

/** A device whose nonce is refused gets the next one with the refusal: one round trip less (PROTOCOL.md, "Errors"). */
function withFreshNonce({ keys, now, random }: Context, handler: ErrorHandler): ErrorHandler {
  return (thrown, c) => {
    const { code } = toAppError(thrown)
    if (code === 'nonce_invalid' || code === 'nonce_expired')
      c.header('Rollcall-Nonce', issueNonce(keys.nonce, now(), random(16)))
    return handler(thrown, c)
  }
}
