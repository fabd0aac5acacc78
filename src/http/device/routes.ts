import { OpenAPIHono } from '@hono/zod-openapi'
import type { MiddlewareHandler } from 'hono'
import { AppError } from '../../errors.ts'
import { type ChallengeDeps, challengeRoutes } from './challenge.ts'
import { type ClaimDeps, claimRoutes } from './claim.ts'
import { type JoinDeps, joinRoutes } from './join.ts'
import { type NodeDeps, nodeRoutes } from './nodes.ts'
import { type ReportDeps, reportRoutes } from './report.ts'
import { type TaskDeps, taskRoutes } from './tasks.ts'

export type DeviceDeps = ChallengeDeps & ClaimDeps & JoinDeps & ReportDeps & TaskDeps & NodeDeps

/** Every answer to a device carries the server's time, refusals and strange paths included (PROTOCOL.md, "Errors"). */
export const serverTime =
  (now: () => number): MiddlewareHandler =>
  async (c, next) => {
    c.header('Rollcall-Time', String(now()))
    await next()
  }

/** Everything that devices call, under `/v1`; mount it at `/`. */
export function deviceRoutes(deps: DeviceDeps): OpenAPIHono {
  const app = new OpenAPIHono()
  app.use('/v1/challenge', async (c, next) => {
    // TPM challenges come with TPM claims; until then nothing is here, and a middleware keeps POST out of `Allow`.
    if (c.req.method === 'POST') throw new AppError('not_found')
    await next()
  })
  app.route('/', challengeRoutes(deps))
  app.route('/', claimRoutes(deps))
  app.route('/', joinRoutes(deps))
  app.route('/', reportRoutes(deps))
  app.route('/', taskRoutes(deps))
  app.route('/', nodeRoutes(deps))
  return app
}
