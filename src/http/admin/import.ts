import { z } from '@hono/zod-openapi'
import { AppError } from '../../errors.ts'
import { type ImportRequest, importDevices } from '../../services/import-devices.ts'
import { actor, adminRoute, answer, resource } from './frame.ts'

const flag = (description: string) =>
  z.enum(['true', 'false']).default('false').openapi({ description, type: 'string' })

const ImportResult = z
  .object({
    created: z.int(),
    updated: z.int(),
    unchanged: z.int(),
    refused: z
      .array(z.object({ line: z.int(), serial: z.string().optional(), reason: z.string() }))
      .describe('At most 10,000 of them'),
    refused_total: z.int(),
  })
  .openapi('ImportResult')

const route = adminRoute({
  method: 'post',
  path: '/devices/import',
  scope: 'write',
  stream: true,
  tags: ['devices'],
  summary: 'Bring a file of devices onto the roll, all or nothing',
  description:
    'CSV has a header of JSON names, `identity.thumbprint`, `identity.pem`, `labels.<name>`, `vars.<name>`; lists are joined by `;`, an ' +
    'empty cell is not given. NDJSON has one object a line. A serial that is on the roll is changed by what its line gives.',
  request: {
    query: z.object({
      dry_run: flag('Says what would be done, and does nothing'),
      partial: flag('Takes the good lines even if others are refused'),
    }),
    body: {
      required: true,
      content: { 'text/csv': { schema: z.string() }, 'application/x-ndjson': { schema: z.string() } },
    },
  },
  responses: { 200: answer('What was done, or would be', ImportResult) },
})

export const importRoutes = () =>
  resource().openapi(route, async (c) => {
    const { dry_run, partial } = c.req.valid('query')
    const format = formatOf(c.req.header('content-type'), c.req.header('content-encoding'))
    const body = (c.req.raw.body ?? []) as ImportRequest['body']
    const options = { dryRun: dry_run === 'true', partial: partial === 'true', mayLower: c.var.admin.scope === 'admin' }
    return c.json(await importDevices(c.var.context, actor(c), { format, body, ...options }), 200)
  })

const formats: Record<string, ImportRequest['format']> = { 'text/csv': 'csv', 'application/x-ndjson': 'ndjson' }

function formatOf(type = '', encoding = 'identity'): ImportRequest['format'] {
  const [name = '', ...parameters] = type
    .toLowerCase()
    .split(';')
    .map((part) => part.trim())
  const format = formats[name]
  if (!format) throw new AppError('media_type', { detail: 'send text/csv or application/x-ndjson' })
  const charset = parameters
    .find((part) => part.startsWith('charset='))
    ?.slice(8)
    .replaceAll('"', '')
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'us-ascii') {
    throw new AppError('media_type', { detail: 'send the file as UTF-8' })
  }
  if (encoding !== 'identity') throw new AppError('media_type', { detail: 'send the file unpacked' })
  return format
}
