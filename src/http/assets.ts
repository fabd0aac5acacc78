import { serveStatic } from '@hono/node-server/serve-static'
import { Hono } from 'hono'
import { AppError } from '../errors.ts'
import type { Mirror } from '../services/context.ts'
import { mirrorPath } from '../services/install-sources.ts'
import { cutIfStalled, usualPatience } from './stalled.ts'

// RFC 9110, 14.2: any other may be ignored. @hono/node-server answers the whole file as 206 instead.
const oneRange = /^bytes=(?:\d+-\d*|-\d+)$/i

/**
 * K3s releases from this server's own disk, in the layout that K3s' install script expects of INSTALL_K3S_ARTIFACT_URL. Public files:
 * nothing is asked of who fetches them. A name is looked up, never joined to a path, so nothing else on the disk can be named.
 */
export function assetRoutes(mirror: Pick<Mirror, 'file'>, patience = usualPatience): Hono {
  return new Hono().get(`${mirrorPath}/:version/:file`, async (c) => {
    const { version, file } = c.req.param()
    const found = mirror.file(version, file)
    if (!found) throw new AppError('not_found')
    const etag = `"${found.sha256}"`
    c.header('ETag', etag)
    c.header('Accept-Ranges', 'bytes')
    c.header('Cache-Control', 'public, max-age=3600')
    if (names(c.req.header('if-none-match'), etag)) return c.body(null, 304)
    // RFC 9110, 13.1.5: a part of something else is of no use. @hono/node-server knows no If-Range.
    const part = c.req.header('if-range')
    if ((part !== undefined && part !== etag) || !oneRange.test(c.req.header('range') ?? ''))
      c.req.raw.headers.delete('range')
    cutIfStalled(c, patience)
    const answer = await serveStatic({ path: found.path })(c, async () => {})
    if (!answer) throw new AppError('not_found')
    return answer
  })
}

const names = (header: string | undefined, etag: string) =>
  header?.trim() === '*' || header?.split(',').some((one) => one.trim().replace(/^W\//, '') === etag)
