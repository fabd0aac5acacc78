import { z } from '@hono/zod-openapi'

/** What lint says of a template or of what it rendered. */
export const LintProblem = z
  .object({
    severity: z.enum(['error', 'warning']),
    code: z.string(),
    message: z.string(),
    line: z.int().optional().describe('1-based, in the template'),
  })
  .openapi('LintProblem')
