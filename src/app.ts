import { OpenAPIHono } from '@hono/zod-openapi'
import { type ErrorHandler, Hono } from 'hono'
import { requireToken } from './http/admin/auth.ts'
import { adminRoutes } from './http/admin/routes.ts'
import { assetRoutes } from './http/assets.ts'
import { challengeShortcut } from './http/device/challenge-shortcut.ts'
import { pollShortcut } from './http/device/poll-shortcut.ts'
import { reportShortcut } from './http/device/report-shortcut.ts'
import { deviceRoutes, serverTime } from './http/device/routes.ts'
import { observed, refusedWhileDraining } from './http/edge.ts'
import { toAppError } from './http/error-cause.ts'
import { hostCheck } from './http/host.ts'
import { healthRoutes } from './http/ops/health.ts'
import { metricsRoutes } from './http/ops/metrics.ts'
import { notFound, onError } from './http/problem.ts'
import { type RequestVars, requestId } from './http/request-id.ts'
import { firstOf, rethrown, type Shortcut } from './http/shortcut.ts'
import { issueNonce } from './identity/nonce.ts'
import { type Operations, operationsOf } from './operations.ts'
import { acknowledgeTasks } from './services/acknowledge-tasks.ts'
import { adminTokens } from './services/check-admin-token.ts'
import { composer } from './services/compose-document.ts'
import type { Context } from './services/context.ts'
import { enroller } from './services/enroll.ts'
import { firstManifests } from './services/first-manifests.ts'
import { keepKubeconfig } from './services/keep-kubeconfig.ts'
import { nodeCredentials } from './services/node-credential.ts'
import { type TaskPolls, taskPolls } from './services/poll-tasks.ts'
import { redactor } from './services/redact-document.ts'
import { redeem } from './services/redeem.ts'
import { reporter } from './services/report.ts'
import { reportNodes } from './services/report-nodes.ts'

/** The main listener's routes. Listens to nothing: tests call `app.request`. */
export function createApp(
  given: Context,
  operations: Operations = operationsOf(given),
  polls: TaskPolls = taskPolls(given),
): OpenAPIHono & { shortcut: Shortcut } {
  const context = { ...given, wake: given.wake ?? polls.wake }
  const nodes = nodeCredentials(context)
  operations.metrics.pollsHeld(polls.held)
  const app = new OpenAPIHono<{ Variables: RequestVars }>()
  const tokens = adminTokens(context)
  const report = reporter({ ...context, redact: redactor(context), dropped: operations.metrics.reportDropped })
  app.use(requestId(), serverTime(context.now), observed(operations), rethrown)
  app.onError(withFreshNonce(context, onError(context.log)))
  app.route('/', healthRoutes(operations.ready))
  app.use(refusedWhileDraining(operations))
  app.route('/', metricsRoutes(operations.metrics, requireToken(tokens, 'read')))
  app.route(
    '/',
    deviceRoutes({
      ...context,
      enroll: enroller({ ...context, compose: composer(context), unknownKey: operations.metrics.unknownKey }),
      redeem: (request) => redeem(context, request),
      report,
      polls,
      nodes,
      acknowledge: (clusterId, results) => acknowledgeTasks(context, clusterId, results),
      reportNodes: (holder, report) => reportNodes(context, holder, report),
      keepKubeconfig: (holder, upload) => keepKubeconfig(context, holder, upload),
      firstManifests: (holder) => firstManifests(context, holder),
    }),
  )
  app.route('/', adminRoutes(context, tokens))
  if (context.mirror) app.route('/', assetRoutes(context.mirror))
  app.notFound(notFound(app as never))
  const edge = { ...context, ...operations }
  return Object.assign(app as unknown as OpenAPIHono, {
    shortcut: firstOf(
      hostCheck(),
      challengeShortcut(edge),
      reportShortcut({ ...edge, report }),
      pollShortcut({ ...edge, polls }),
    ),
  })
}

/** The boot listener's routes: plain HTTP, so no claim and no admin route. */
export function createBootApp(
  context: Context,
  operations: Operations = operationsOf(context),
): Hono & { shortcut: Shortcut } {
  const app = new Hono<{ Variables: RequestVars }>()
  app.use(requestId(), serverTime(context.now), observed(operations), rethrown)
  app.onError(onError(context.log))
  app.route('/', healthRoutes(operations.ready))
  app.use(refusedWhileDraining(operations))
  if (context.mirror) app.route('/', assetRoutes(context.mirror))
  app.notFound(notFound(app as never))
  return Object.assign(app as unknown as Hono, { shortcut: hostCheck() })
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
