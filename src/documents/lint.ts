import { AppError } from '../errors.ts'
import { type Builtins, type CompiledDocument, compileDocument } from './compile.ts'
import type { IgnitionConfig } from './ignition-schema.ts'
import type { LintProblem } from './input.ts'
import { lintAgain } from './lint-again.ts'
import { lintNeeds } from './lint-needs.ts'
import { lintPackages } from './lint-packages.ts'
import { lintPaths } from './lint-paths.ts'
import type { Builtin, ProfileSpec, Role } from './profile.ts'
import { sampleInput } from './sample.ts'
import { inputShape } from './shape.ts'
import type { Reason } from './template-error.ts'

const kinds: Record<Builtin, ProfileSpec['document']> = {
  'builtin:debian': 'cloud-init',
  'builtin:rocky': 'cloud-init',
  'builtin:fcos': 'ignition',
  'builtin:flatcar': 'ignition',
}

/**
 * What is wrong with a profile's template, before a device finds out: its syntax, every path in every branch, and two renderings for each role, the second
 * with the nastiest values that a device can have: a warning if they change what kind of thing stands where. Never throws for what a template says.
 */
export function lintTemplate(spec: ProfileSpec, builtins: Builtins): LintProblem[] {
  if (typeof spec.template === 'string' && kinds[spec.template] !== spec.document) {
    const message = `${spec.template} makes ${kinds[spec.template]} documents`
    return [{ severity: 'error', code: 'document', message }]
  }
  const compiled = attempt(() => compileDocument(spec, builtins))
  if ('reasons' in compiled) return compiled.reasons.map(error)
  const paths = lintPaths(compiled.made.program, inputShape(spec.vars))
  if (paths.length > 0) return paths.map(error)
  const own = lintRole(compiled.made, spec, spec.role)
  const other = lintRole(compiled.made, spec, spec.role === 'server' ? 'agent' : 'server')
  const further = other.filter(({ message }) => !own.some((problem) => message.endsWith(problem.message)))
  const found = [...own, ...further, ...lintBox(compiled.made, spec)]
  return typeof spec.template === 'string' ? found : [...found, ...lintNeeds(compiled.made.program, spec.role)]
}

/** What a box that Ignition sets up cannot do. */
function lintBox(document: CompiledDocument, spec: ProfileSpec): LintProblem[] {
  if (spec.document !== 'ignition') return []
  const config = attempt(() => document.renderWhole(sampleInput(spec, spec.role, 'plain')).parsed)
  if (!('made' in config)) return []
  const made = config.made as IgnitionConfig
  return [...lintPackages(made), ...(typeof spec.template === 'string' ? [] : lintAgain(made))]
}

/** Of the profile's own role, what is wrong is an error; a device may be given the other one, too. */
function lintRole(document: CompiledDocument, spec: ProfileSpec, role: Role): LintProblem[] {
  const own = role === spec.role
  const tell = (reason: Reason): LintProblem =>
    own ? error(reason) : { ...error(reason), severity: 'warning', message: `as ${role}: ${reason.message}` }
  const render = (kind: 'plain' | 'hostile' | 'vars') =>
    attempt(() => document.renderWhole(sampleInput(spec, role, kind)).parsed)

  const plain = render('plain')
  if ('reasons' in plain) return plain.reasons.map(tell)
  const hostile = changed(plain.made, render('hostile'), 'a device')
  const found = hostile ?? (own ? changed(plain.made, render('vars'), 'a var') : undefined)
  return found ? [{ ...tell(found), severity: 'warning' }] : []
}

/** Whether hostile values came out as anything but values. */
function changed(plain: unknown, hostile: Attempt<unknown>, whose: string): Reason | undefined {
  const advice = 'write values through {{yaml …}}, {{sh …}} or {{dataUrl …}}'
  if ('reasons' in hostile) {
    const [first] = hostile.reasons
    return {
      ...(first as Reason),
      code: 'unquoted_value',
      message: `breaks with values that ${whose} may have: ${advice}`,
    }
  }
  const path = difference(plain, hostile.made, '')
  if (path === undefined) return undefined
  return {
    code: 'unquoted_value',
    message: `${path || 'the document'} is something else with values that ${whose} may have: ${advice}`,
  }
}

/** The first path at which two documents differ in more than the text of their strings. */
function difference(a: unknown, b: unknown, path: string): string | undefined {
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') {
    return typeof a === typeof b && (a === null) === (b === null) ? undefined : path
  }
  const [keys, others] = [Object.keys(a), Object.keys(b)]
  if (Array.isArray(a) !== Array.isArray(b) || keys.join('\n') !== others.join('\n')) return path
  for (const key of keys) {
    const found = difference((a as never)[key], (b as never)[key], path === '' ? key : `${path}.${key}`)
    if (found !== undefined) return found
  }
  return undefined
}

type Attempt<T> = { made: T } | { reasons: Reason[] }

function attempt<T>(make: () => T): Attempt<T> {
  try {
    return { made: make() }
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'invalid') throw thrown
    return { reasons: thrown.cause as Reason[] }
  }
}

const error = ({ code, message, line }: Reason): LintProblem => ({
  severity: 'error',
  code,
  message,
  ...(line === undefined ? {} : { line }),
})
