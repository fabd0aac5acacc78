import type Handlebars from 'handlebars'
import { type Budget, Spent } from './budget.ts'
import type { Marks } from './marks.ts'
import { dataUrl, hereDocument, shellWord, yamlBlock, yamlFlow } from './quoting.ts'
import type { InPlace } from './syntax.ts'
import { type Reason, templateError } from './template-error.ts'
import type { TemplateFiles } from './template-files.ts'

/** What one rendering leaves behind beside its text. */
export type RenderState = {
  budget: Budget
  /** Undefined: everything is written where it stands. Else what helpers write is kept here, and marks stand for it (skeleton.ts). */
  marks: Marks | undefined
  /** Depth of blocks whose text becomes a value itself. */
  depth: number
}

type Options = Handlebars.HelperOptions & { name: string; loc?: { start: { line: number } } }
type Helper = (this: unknown, ...args: never[]) => unknown

/**
 * Everything that a template can call. Handlebars' strict mode does not look at what helpers are given, so each helper
 * refuses an argument without a value itself.
 */
export function templateHelpers(handlebars: typeof Handlebars, files: TemplateFiles): Record<string, Helper> {
  const { each, if: when, with: inside } = handlebars.helpers as Record<string, Helper>
  return {
    each: given(each as Helper),
    if: given(when as Helper),
    // Handlebars' own calls whatever is registered as `if`, without what that one counts with.
    unless: given(function (this: unknown, condition: unknown, options: Options) {
      return when?.call(this, condition as never, { ...options, fn: options.inverse, inverse: options.fn } as never)
    }),
    with: given(inside as Helper),
    ...comparing,
    ...plain,
    ...structured(files),
    ...standing(files),
  }
}

const comparing: Record<string, Helper> = {
  eq: given((a: unknown, b: unknown) => a === b),
  not: given((a: unknown) => !a),
  default: given((from: object, key: string, otherwise: unknown) =>
    Object.hasOwn(from, key) ? (from as Record<string, unknown>)[key] : otherwise,
  ),
  join: given((list: unknown[], separator: string, options: Options) =>
    joined(list, scalar(separator, options), options),
  ),
  concat: given((...args: unknown[]) => {
    const options = args.pop() as Options
    return joined(args, '', options)
  }),
}

const plain: Record<string, Helper> = {
  yaml: given((value: unknown) => yamlFlow(value)),
  json: given((value: unknown) => yamlFlow(value)),
  sh: given((value: unknown, options: Options) => shellWord(scalar(value, options))),
  b64: given((value: unknown, options: Options) => Buffer.from(scalar(value, options)).toString('base64')),
  indent: given((columns: number, text: string) => text.replace(/^(?=[^\n])/gm, margin(columns))),
}

const structured = (files: TemplateFiles): Record<string, Helper> => ({
  /** The text of a file of ours, without its last line end. */
  file: given((name: string, options: Options) => fileText(files, name, options)),
  /** `{{#block 4}}…{{/block}}`: the text between as a YAML block scalar. A closing tag alone on its line takes the line end with it. */
  block: given(function (this: unknown, columns: number, options: Options) {
    const { text, whole } = between(files, this, options)
    const { marks, depth } = options.data.state as RenderState
    const width = margin(columns).length
    const block = marks && depth === 0 && marks.mayBegin(text) ? files.block(text, width) : undefined
    if (!block) return `${written(options, whole(), (value) => yamlBlock(value, width))}\n`
    marks?.blocks.push(block.content)
    return `${block.literal}\n`
  }),
  /** `{{dataUrl text}}` or `{{#dataUrl}}…{{/dataUrl}}`: quoted, for Ignition's `source`. */
  dataUrl: given(function (this: unknown, ...args: unknown[]) {
    const options = args.pop() as Options
    if (args.length > 0) return `"${dataUrl(scalar(args[0], options))}"`
    const { text, whole } = between(files, this, options)
    const { marks } = options.data.state as RenderState
    const url = (marks && files.url(text)) ?? dataUrl(whole())
    return `${written(options, url, (value) => `"${value}"`)}\n`
  }),
  /** `{{#place "0600" "/path"}}…{{/place}}`: a call of the shell function `place`, the text on its standard input. */
  place: given(function (this: unknown, mode: string, path: string, options: Options) {
    const { text } = between(files, this, options)
    const { marks } = options.data.state as RenderState
    const here = marks ? files.hereDocument(text) : hereDocument(text)
    // What marks stand for is none of the last lines that begin like this one (marks.ts).
    if (marks && !here.startsWith("<<'EOF")) marks.sound = false
    return `place ${mode} ${bareWord.test(path) ? path : shellWord(path)} ${here}`
  }),
})

/** What tags are compiled to that stand where text does (syntax.ts): there a mark will do. */
const standing = (files: TemplateFiles): Record<string, Helper> => ({
  [inPlace.variable]: given((value: unknown, options: Options) =>
    marked(options, value === null ? '' : scalar(value, options)),
  ),
  // Not `given`: the helper within has been counted.
  [inPlace.result]: (value: unknown, options: Options) => marked(options, value == null ? '' : String(value)),
  [inPlace.yaml]: given((value: unknown, options: Options) => written(options, value, yamlFlow)),
  [inPlace.json]: given((value: unknown, options: Options) => written(options, value, yamlFlow)),
  [inPlace.dataUrl]: given((value: unknown, options: Options) =>
    written(options, dataUrl(scalar(value, options)), (url) => `"${url}"`),
  ),
  [inPlace.file]: given((name: string, options: Options) => {
    const { marks, depth, budget } = options.data.state as RenderState
    const text = fileText(files, name, options)
    budget.text(text.length)
    return (marks && depth > 0 ? files.mark(name) : undefined) ?? marked(options, text)
  }),
})

/** No template can say these names. */
export const inPlace: InPlace = {
  variable: 'variable in place',
  result: 'result in place',
  yaml: 'yaml in place',
  json: 'json in place',
  dataUrl: 'dataUrl in place',
  file: 'file in place',
}

/** Columns of an indented text. */
const mostColumns = 64

function margin(columns: number): string {
  if (!Number.isInteger(columns) || columns < 0 || columns > mostColumns)
    throw new TypeError(`is no number of columns from 0 to ${mostColumns}`)
  return ' '.repeat(columns)
}

const bareWord = /^[A-Za-z0-9/._-]+$/

function fileText(files: TemplateFiles, name: string, options: Options): string {
  const text = files.text(name)
  if (text === undefined) throw refusal(options, `knows no file ${JSON.stringify(name)}`)
  return text
}

/** The text between a block helper's tags: with marks, and without, for what goes on as a value itself. */
function between(files: TemplateFiles, context: unknown, options: Options) {
  if (!options.fn) throw refusal(options, 'is a block: {{#name}}…{{/name}}')
  const state = options.data.state as RenderState
  const { marks } = state
  const before = marks?.texts.length ?? 0
  state.depth++
  try {
    const text = options.fn(context)
    return { text, whole: () => (marks ? files.expand(marks.whole(text, before)) : text) }
  } finally {
    state.depth--
  }
}

/** A scalar of YAML, or the mark that stands for it wherever a scalar may. */
function written<T>(options: Options, value: T, write: (value: T) => string): string {
  const { marks, depth, budget } = options.data.state as RenderState
  const text = write(value)
  if (!marks || depth > 0) return marked(options, text)
  budget.text(text.length)
  return marks.scalar({ value, text })
}

/** Text, or the mark that stands for it inside of a block. */
function marked(options: Options, text: string): string {
  const { marks, depth, budget } = options.data.state as RenderState
  if (!marks) return text
  if (depth === 0) return marks.bare(text)
  budget.text(text.length)
  return marks.text(text)
}

function joined(items: unknown[], separator: string, options: Options): string {
  const { budget } = options.data.state as RenderState
  const texts = items.map((item) => scalar(item, options))
  budget.text(texts.reduce((sum, text) => sum + text.length, separator.length * texts.length))
  return texts.join(separator)
}

function scalar(value: unknown, options: Options): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  throw refusal(options, 'wants a string, a number or a boolean')
}

/**
 * Wraps a helper so that an argument without a value, whatever it cannot say, and what costs more than the budget, is a refusal with the
 * template's line.
 */
function given(helper: Helper): Helper {
  return function (this: unknown, ...args: never[]) {
    const options = args.at(-1) as unknown as Options
    for (let i = 0; i < args.length - 1; i++) {
      if (args[i] === undefined) throw refusal(options, 'was given a variable that does not exist')
    }
    try {
      const { budget } = options.data.state as RenderState
      budget.step()
      if (options.fn) options.fn = counted(options.fn, budget)
      if (options.inverse) options.inverse = counted(options.inverse, budget)
      const made = helper.apply(this, args)
      if (typeof made === 'string') budget.text(made.length)
      return made
    } catch (error) {
      if (error instanceof Spent) throw refusal(options, `makes ${error.message}`)
      if (error instanceof TypeError) throw refusal(options, `was given a value that ${error.message}`)
      throw error
    }
  }
}

/** A block whose every run is a step, and whose text is looked at before more is made of it. */
function counted(block: Handlebars.TemplateDelegate, budget: Budget): Handlebars.TemplateDelegate {
  return (context, options) => {
    budget.step()
    const text = block(context, options)
    budget.text(text.length)
    return text
  }
}

function refusal(options: Options, why: string) {
  const reason: Reason = { code: 'helper', message: `{{${options.name.replace(/ in place$/, '')}}} ${why}` }
  const line = options.loc?.start.line
  return templateError([line === undefined ? reason : { ...reason, line }])
}
