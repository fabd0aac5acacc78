import type { Hook } from '@hono/zod-openapi'
import type { core } from 'zod'
import { AppError, type FieldError } from '../../errors.ts'

/** Turns what zod found into one `invalid` with a line for each thing wrong. @throws AppError `invalid` */
// biome-ignore lint/suspicious/noExplicitAny: the library's own type for a hook of all routes
export const refuseInvalid: Hook<any, any, any, any> = (result) => {
  if (!result.success) throw new AppError('invalid', { errors: fieldErrors(result.error.issues, where[result.target]) })
}

const where: Record<string, string> = { query: 'query', header: 'header', param: 'path' }

/**
 * @param prefix stands before each path, for what is not the body
 * @returns paths such as `datastore.endpoint`, `macs.0`, `query.limit`; the whole body is the empty path
 */
export function fieldErrors(issues: readonly core.$ZodIssue[], prefix?: string): FieldError[] {
  return issues.flatMap((issue): FieldError[] => {
    const path = [...(prefix ? [prefix] : []), ...issue.path].map(String)
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({ path: [...path, key].join('.'), reason: 'no such member' }))
    }
    return [{ path: path.join('.'), reason: reasonOf(issue) }]
  })
}

function reasonOf(issue: core.$ZodIssue): string {
  if (issue.code !== 'invalid_union') return issue.message
  const reasons = issue.errors.flatMap((branch) => branch.slice(0, 1).map((inner) => reasonOf(inner)))
  return [...new Set(reasons)].join(', or ') || issue.message
}
