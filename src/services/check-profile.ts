import type { LintProblem } from '../documents/input.ts'
import type { ProfileSpec } from '../documents/profile.ts'
import type { Context } from './context.ts'
import { refuse } from './invalid.ts'

/** Lints a profile. @returns what is only a warning @throws AppError `invalid` with each error, and its line where known */
export function checkProfile(context: Context, spec: ProfileSpec): LintProblem[] {
  const problems = lint(context, spec)
  const path = typeof spec.template === 'string' ? 'template' : 'template.source'
  const errors = problems.filter((problem) => problem.severity === 'error')
  refuse(
    errors.map(({ code, message, line }) => ({
      path,
      reason: `${code}: ${message}`,
      ...(line === undefined ? {} : { line }),
    })),
  )
  return problems.filter((problem) => problem.severity === 'warning')
}

/** Everything that is wrong with a profile, or may be. */
export function lint({ settings }: Pick<Context, 'settings'>, spec: ProfileSpec): LintProblem[] {
  const problems: LintProblem[] = []
  if (settings.publicUrlGuessed) {
    const message = `documents will name ${settings.publicUrl}, which was guessed or is loopback: set ROLLCALL_PUBLIC_URL`
    problems.push({ severity: 'warning', code: 'public_url_guessed', message })
  }
  if (spec.role === 'server' && (spec.min_assurance === 'network' || spec.min_assurance === 'bearer')) {
    const message = 'a server below assurance key is refused unless its cluster says allow_weak_servers'
    problems.push({ severity: 'warning', code: 'weak_server', message })
  }
  return problems
}
