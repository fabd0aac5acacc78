import type { Hook } from '@hono/zod-openapi'
import { AppError } from '../../errors.ts'
import { fieldErrors } from '../../services/invalid.ts'

const where: Record<string, string> = { query: 'query', header: 'header', param: 'path' }

/** Turns what zod found into one refusal. @throws AppError `invalid` */
// biome-ignore lint/suspicious/noExplicitAny: the library's own type for a hook of all routes
export const refuseInvalid: Hook<any, any, any, any> = (result) => {
  if (!result.success) {
    throw new AppError('invalid', { errors: fieldErrors(result.error.issues, where[result.target]) })
  }
}
