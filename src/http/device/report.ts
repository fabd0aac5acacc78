import { Hono } from 'hono'
import { AppError } from '../../errors.ts'
import { readBody } from '../body.ts'

export type ReportDeps = { report: (token: string, body: string) => Promise<void> }

/** Bytes. PROTOCOL.md, "Report". */
export const reportLimit = 65_536

export const reportRoutes = ({ report }: ReportDeps) =>
  new Hono().post('/v1/report/:token', async (c) => {
    const token = c.req.param('token')
    if (!/^[A-Za-z0-9_-]{16,128}$/.test(token)) throw new AppError('not_found')
    const body = await readBody(c, reportLimit, { code: 'body_too_large' })
    // cloud-init's webhook names no content type, and what is no UTF-8 is no report.
    await report(token, new TextDecoder().decode(body))
    return c.body(null, 204)
  })
