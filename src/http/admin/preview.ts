import { z } from '@hono/zod-openapi'
import { ProfileSpec, roles } from '../../documents/profile.ts'
import { containerForms } from '../../k3s/container.ts'
import { lint } from '../../services/check-profile.ts'
import { previewDocument } from '../../services/preview-document.ts'
import { adminRoute, answer, resource } from './frame.ts'
import { LintProblem } from './lint-problem.ts'

const tags = ['profiles']

const Preview = z
  .object({
    content_type: z.string(),
    document: z.string().describe('Secrets are placeholders'),
    profile_revision: z.int(),
    role: z.enum(roles),
    cluster: z.string(),
    files: z
      .array(z.object({ path: z.string(), content: z.string() }))
      .optional()
      .describe('With `as`: what the container finds on its host, each for root alone (0600)'),
  })
  .openapi('Preview')

const LintInput = z
  .strictObject({ ...ProfileSpec.shape, name: ProfileSpec.shape.name.default('unsaved') })
  .openapi('LintInput')
const LintResult = z
  .object({ ok: z.boolean().describe('No errors: it could be saved'), problems: z.array(LintProblem) })
  .openapi('LintResult')

const preview = adminRoute({
  method: 'post',
  path: '/profiles/{name}/preview',
  scope: 'write',
  tags,
  summary: 'The document that a device would be given under this profile',
  request: {
    params: z.object({ name: z.string().openapi({ example: 'edge-agent' }) }),
    query: z.object({
      serial: z.string().min(1).max(256).openapi({ example: 'SN-0001' }),
      as: z.enum(containerForms).optional().describe('Instead of the document: what runs its K3s in a container'),
    }),
  },
  responses: { 200: answer('Rendered; nothing is written', Preview) },
  errors: ['not_found', 'state_conflict'],
})

const lintRoute = adminRoute({
  method: 'post',
  path: '/profiles/lint',
  scope: 'write',
  tags,
  summary: 'What is wrong with a profile that is not saved',
  request: { body: { required: true, content: { 'application/json': { schema: LintInput } } } },
  responses: { 200: answer('Errors and warnings', LintResult) },
})

export const previewRoutes = () =>
  resource()
    .openapi(lintRoute, async (c) => {
      const problems = await lint(c.var.context, c.req.valid('json'))
      return c.json({ ok: problems.every(({ severity }) => severity === 'warning'), problems }, 200)
    })
    .openapi(preview, async (c) => {
      const { name } = c.req.valid('param')
      return c.json(await previewDocument(c.var.context, name, c.req.valid('query')), 200)
    })
