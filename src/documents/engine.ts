import Handlebars from 'handlebars'
import { AppError } from '../errors.ts'
import { checkSyntax, type Program, prepareSyntax } from './syntax.ts'
import { checkBounds } from './template-bounds.ts'
import { type Reason, templateError } from './template-error.ts'
import type { TemplateFiles } from './template-files.ts'
import { inPlace, type RenderState, templateHelpers } from './template-helpers.ts'

/** Bytes; what an admin may store, and far more than a document needs. */
export const limits = { source: 262_144, output: 1_048_576 } as const

/** A template ready to be rendered. */
export type Template = {
  program: Program
  /**
   * @param state keeps what helpers wrote apart, if it has marks (skeleton.ts)
   * @throws AppError `invalid` if a value is missing or cannot be said, or the output is too large
   */
  run: (input: object, state: RenderState) => string
}

/**
 * Compiles a template, once a profile revision. An isolated Handlebars: strict, without HTML escaping, with our helpers alone.
 * @param files texts that `{{file "name"}}` may bring in
 * @throws AppError `invalid` with every problem and its line
 */
export function compileTemplate(source: string, files: TemplateFiles): Template {
  if (Buffer.byteLength(source) > limits.source)
    throw templateError([{ code: 'source_too_large', message: 'larger than 256 KiB' }])
  const tooMuch = checkBounds(source)
  if (tooMuch.length > 0) throw templateError(tooMuch)
  const handlebars = Handlebars.create()
  const helpers = templateHelpers(handlebars, files)
  for (const name of Object.keys(handlebars.helpers)) handlebars.unregisterHelper(name)
  handlebars.registerHelper(helpers as Handlebars.HelperDeclareSpec)

  const program = parse(handlebars, source)
  const names = Object.keys(helpers)
  const problems = checkSyntax(
    program,
    names.filter((name) => !Object.values(inPlace).includes(name)),
  )
  if (problems.length > 0) throw templateError(problems)
  prepareSyntax(program, inPlace)

  const render = handlebars.compile(program, {
    strict: true,
    noEscape: true,
    knownHelpersOnly: true,
    knownHelpers: knownHelpers(names),
  })
  return { program, run: (input, state) => run(render, input, state) }
}

function parse(handlebars: typeof Handlebars, source: string): Program {
  try {
    return handlebars.parse(source)
  } catch (error) {
    throw templateError([{ code: 'syntax', ...firstLine(error) }])
  }
}

function run(render: HandlebarsTemplateDelegate, input: object, state: RenderState): string {
  let text: string
  try {
    // Said aloud, or Handlebars writes a warning to the console.
    const own = { allowProtoPropertiesByDefault: false, allowProtoMethodsByDefault: false }
    text = render(input, { data: { state }, ...own })
  } catch (error) {
    if (error instanceof AppError) throw error
    throw templateError([{ code: 'render', ...firstLine(error) }])
  }
  if (text.length > limits.output)
    throw templateError([{ code: 'output_too_large', message: 'renders more than 1 MiB' }])
  return text
}

// Of Handlebars' messages only what names the template is kept: "… not defined in …" goes on with the value above, excerpts with the text around.
function firstLine(error: unknown): Omit<Reason, 'code'> {
  const { message, lineNumber } = error as { message: string; lineNumber?: number }
  const missing = /^("[^"]*" not defined) in /.exec(message)?.[1]
  const syntax = /^(?:Parse|Lexical) error on line (\d+)/.exec(message)?.[1]
  const line = lineNumber ?? (syntax === undefined ? undefined : Number(syntax))
  const text = missing ?? (syntax === undefined ? 'cannot be rendered' : 'syntax error')
  return line === undefined ? { message: text } : { message: text, line }
}

// Handlebars counts its own built-ins as known unless told otherwise.
function knownHelpers(ours: string[]): Record<string, boolean> {
  const builtins = ['helperMissing', 'blockHelperMissing', 'each', 'if', 'unless', 'with', 'log', 'lookup']
  return Object.fromEntries([...builtins.map((name) => [name, false]), ...ours.map((name) => [name, true])])
}
