import type { core, z } from 'zod'
import { AppError, type FieldError } from '../errors.ts'

/**
 * What zod found, one line for each thing wrong.
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

/** @throws AppError `invalid` if there is anything in the list */
export function refuse(errors: readonly FieldError[]): void {
  if (errors.length > 0) throw new AppError('invalid', { errors })
}

/** Checks what was put together from parts. @throws AppError `invalid` */
export function parse<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value)
  if (!result.success) throw new AppError('invalid', { errors: fieldErrors(result.error.issues) })
  return result.data
}

function reasonOf(issue: core.$ZodIssue): string {
  if (issue.code !== 'invalid_union') return issue.message
  const reasons = issue.errors.flatMap((branch) => branch.slice(0, 1).map((inner) => reasonOf(inner)))
  return [...new Set(reasons)].join(', or ') || issue.message
}
