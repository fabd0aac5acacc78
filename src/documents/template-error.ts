import { AppError } from '../errors.ts'

/** Why a template cannot be used or did not render; `line` is 1-based in its source. Holds no value of the input. */
export type Reason = { code: string; message: string; line?: number }

/** The refusal of a template: 422 `invalid` for an admin; device routes turn it into `internal`. The reasons are its `cause`, too, with their codes. */
export function templateError(reasons: readonly Reason[]): AppError {
  return new AppError('invalid', {
    detail: 'the template cannot be used',
    cause: reasons,
    errors: reasons.map(({ message, line }) => ({
      path: 'template',
      reason: message,
      ...(line === undefined ? {} : { line }),
    })),
  })
}
