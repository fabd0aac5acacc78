import type { LintProblem } from '../documents/input.ts'
import type { ProfileSpec } from '../documents/profile.ts'
import type { Context } from './context.ts'
import { refuse } from './invalid.ts'
import { templateThread } from './template-thread.ts'

/** Lints a profile. @returns what is only a warning @throws AppError `invalid` with each error, and its line where known */
export async function checkProfile(context: Pick<Context, 'settings'>, spec: ProfileSpec): Promise<LintProblem[]> {
  const problems = await lint(context, spec)
  const template = typeof spec.template === 'string' ? 'template' : 'template.source'
  const errors = problems.filter(({ severity }) => severity === 'error')
  const place = (code: string, line?: number) => ({
    path: code === 'packages' ? 'packages' : template,
    ...(line === undefined ? {} : { line }),
  })
  refuse(errors.map(({ code, message, line }) => ({ ...place(code, line), reason: message })))
  return problems.filter(({ severity }) => severity === 'warning')
}

/** Everything that is wrong with a profile, or may be. */
export async function lint(context: Pick<Context, 'settings'>, spec: ProfileSpec): Promise<LintProblem[]> {
  return [...(await templateProblems(spec)), ...settingsProblems(context), ...assuranceProblems(spec)]
}

async function templateProblems(spec: ProfileSpec): Promise<LintProblem[]> {
  const outcome = await templateThread.run({ kind: 'lint', spec })
  if ('reasons' in outcome) return outcome.reasons.map((reason) => ({ severity: 'error', ...reason }))
  return 'problems' in outcome ? outcome.problems : []
}

function settingsProblems({ settings }: Pick<Context, 'settings'>): LintProblem[] {
  if (!settings.publicUrlGuessed) return []
  const message = `documents will name ${settings.publicUrl}, which was guessed or is loopback: set ROLLCALL_PUBLIC_URL`
  return [{ severity: 'warning', code: 'public_url_guessed', message }]
}

function assuranceProblems({ role, min_assurance: least }: ProfileSpec): LintProblem[] {
  if (role !== 'server' || least === 'key' || least === 'hardware') return []
  const message = 'a server below assurance key is refused unless its cluster says allow_weak_servers'
  return [{ severity: 'warning', code: 'weak_server', message }]
}
