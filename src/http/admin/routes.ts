import { OpenAPIHono } from '@hono/zod-openapi'
import { type AdminTokens, adminTokens } from '../../services/check-admin-token.ts'
import type { Context } from '../../services/context.ts'
import { cutIfStalled } from '../stalled.ts'
import { auditRoutes } from './audit.ts'
import { clusterOutputRoutes } from './cluster-outputs.ts'
import { clusterUpgradeRoutes } from './cluster-upgrade.ts'
import { clusterVerbRoutes } from './cluster-verbs.ts'
import { clusterRoutes } from './clusters.ts'
import { deviceTimelineRoutes } from './device-timeline.ts'
import { deviceVerbRoutes } from './device-verbs.ts'
import { deviceRoutes } from './devices.ts'
import { enrollmentRoutes } from './enrollments.ts'
import type { AdminEnv } from './frame.ts'
import { importRoutes } from './import.ts'
import { openApiDocument } from './openapi.ts'
import { previewRoutes } from './preview.ts'
import { profileRoutes } from './profiles.ts'
import { tokenRoutes } from './tokens.ts'
import { versionRoutes } from './versions.ts'

const resources = () => [
  deviceRoutes(),
  deviceVerbRoutes(),
  deviceTimelineRoutes(),
  importRoutes(),
  clusterRoutes(),
  clusterVerbRoutes(),
  clusterOutputRoutes(),
  clusterUpgradeRoutes(),
  profileRoutes(),
  previewRoutes(),
  versionRoutes(),
  enrollmentRoutes(),
  auditRoutes(),
  tokenRoutes(),
]

/**
 * The admin API whole, with full paths: `/api/v1/…` and `/api/openapi.json`; mount it at `/`.
 * @param tokens shared with routes elsewhere that need an admin token
 */
export function adminRoutes(context: Context, tokens: AdminTokens = adminTokens(context)): OpenAPIHono<AdminEnv> {
  const app = new OpenAPIHono<AdminEnv>()
  app.use('/api/v1/*', async (c, next) => {
    c.set('context', context)
    c.set('tokens', tokens)
    await next()
  })
  for (const part of resources()) app.route('/api/v1', part)
  app.openAPIRegistry.registerComponent('securitySchemes', 'token', { type: 'http', scheme: 'bearer' })
  // Written once: it is long, anybody may ask for it, and each who is slow to read would hold a copy of his own.
  let document: Uint8Array<ArrayBuffer> | undefined
  app.get('/api/openapi.json', (c) => {
    cutIfStalled(c)
    document ??= new TextEncoder().encode(JSON.stringify(openApiDocument(app)))
    return c.body(document, 200, { 'Content-Type': 'application/json', 'Content-Length': String(document.byteLength) })
  })
  return app
}
