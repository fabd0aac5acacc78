import { OpenAPIHono } from '@hono/zod-openapi'
import { type AdminTokens, adminTokens } from '../../services/check-admin-token.ts'
import type { Context } from '../../services/context.ts'
import type { AdminEnv, resource } from './frame.ts'
import { openApiDocument } from './openapi.ts'

export type Resource = ReturnType<typeof resource>

/**
 * The admin API whole, with full paths: `/api/v1/…` and `/api/openapi.json`; mount it at `/`.
 * @param more resources besides those of this folder's own list
 */
export function adminRoutes(
  context: Context,
  more: readonly Resource[] = [],
  tokens: AdminTokens = adminTokens(context),
): OpenAPIHono<AdminEnv> {
  const app = new OpenAPIHono<AdminEnv>()
  app.use('/api/v1/*', async (c, next) => {
    c.set('context', context)
    c.set('tokens', tokens)
    await next()
  })
  for (const part of [...more]) app.route('/api/v1', part)
  app.openAPIRegistry.registerComponent('securitySchemes', 'token', { type: 'http', scheme: 'bearer' })
  let document: ReturnType<typeof openApiDocument> | undefined
  app.get('/api/openapi.json', (c) => {
    document ??= openApiDocument(app)
    return c.json(document)
  })
  return app
}
