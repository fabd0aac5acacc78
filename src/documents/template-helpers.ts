import type Handlebars from 'handlebars'
import { type Budget, Spent } from './budget.ts'
import { dataUrl, hereDocument, shellWord, yamlBlock, yamlFlow } from './quoting.ts'
import type { InPlace } from './syntax.ts'
import { type Reason, templateError } from './template-error.ts'
import { TemplateFiles } from './template-files.ts'

/** What one rendering leaves behind beside its text. */
export type RenderState = {
  budget: Budget
  /** Undefined: values are written where they stand. Else helpers leave marks (skeleton.ts) and put the values here, in order. */
  values: Value[] | undefined
  /** Depth of blocks whose text becomes a value itself: inside, nothing is marked. */
  depth: number
  /** Whether marks may stand for files inside a block scalar; how many were set, and whether all of them are accounted for. */
  fileMarks: { allowed: boolean; set: number; sound: boolean }
}

/** One scalar of a document: what it says, and how it is written; `columns` only for what `block` wrote. */
export type Value = { value: unknown; text: string; columns?: number }

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
  yaml: given((value: unknown, options: Options) => marked(options, { value, text: yamlFlow(value) })),
  json: given((value: unknown, options: Options) => marked(options, { value, text: yamlFlow(value) })),
  sh: given((value: unknown, options: Options) => shellWord(scalar(value, options))),
  b64: given((value: unknown, options: Options) => Buffer.from(scalar(value, options)).toString('base64')),
  indent: given((columns: number, text: string) => text.replace(/^(?=[^\n])/gm, margin(columns))),
}

const structured = (files: TemplateFiles): Record<string, Helper> => ({
  /** The text of a file of ours, without its last line end. */
  file: given((name: string, options: Options) => fileText(files, name, options)),
  /** What `{{name}}` is compiled to (syntax.ts). */
  [inPlace.value]: given((value: unknown, options: Options) => (value === null ? '' : scalar(value, options))),
  /** What `{{file "name"}}` is compiled to where it stands as text of its own (syntax.ts): there a mark will do. */
  [inPlace.file]: given((name: string, options: Options) => {
    const { values, depth, fileMarks, budget } = options.data.state as RenderState
    const text = fileText(files, name, options)
    budget.text(text.length)
    const mark = values && depth > 0 && fileMarks.allowed ? files.mark(name) : undefined
    if (mark === undefined) return text
    fileMarks.set += TemplateFiles.count(mark)
    return mark
  }),
  /** `{{#block 4}}…{{/block}}`: the text between as a YAML block scalar. A closing tag alone on its line takes the line end with it. */
  block: given(function (this: unknown, columns: number, options: Options) {
    const { text, whole, marks } = writtenWith(files, this, options)
    const { fileMarks, values } = options.data.state as RenderState
    // What looks like a mark and is none would be replaced at the end.
    if (values && TemplateFiles.count(text) !== marks) fileMarks.sound = false
    const block = yamlBlock(text, margin(columns).length)
    if (block.startsWith('|')) return `${marked(options, { value: text, text: block, columns })}\n`
    return `${marked(options, { value: whole(), text: yamlFlow(whole()), columns })}\n`
  }),
  /** `{{dataUrl text}}` or `{{#dataUrl}}…{{/dataUrl}}`: quoted, for Ignition's `source`. */
  dataUrl: given(function (this: unknown, ...args: unknown[]) {
    const options = args.pop() as Options
    const text = args.length > 0 ? scalar(args[0], options) : writtenWith(files, this, options).whole()
    const url = files.url(text) ?? dataUrl(text)
    return `${marked(options, { value: url, text: `"${url}"` })}${args.length > 0 ? '' : '\n'}`
  }),
  /** `{{#place "0600" "/path"}}…{{/place}}`: a call of the shell function `place`, the text on its standard input. */
  place: given(function (this: unknown, mode: string, path: string, options: Options) {
    const { text, marks } = writtenWith(files, this, options)
    const { fileMarks } = options.data.state as RenderState
    const here = marks > 0 && fileMarks.sound ? files.hereDocument(text) : hereDocument(text)
    return `place ${mode} ${bareWord.test(path) ? path : shellWord(path)} ${here}`
  }),
})

/** No template can say these names. */
export const inPlace: InPlace = { file: 'file in place', value: 'variable in place' }

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

/** The text between a block helper's tags: as written, with marks for files; with the files in place; and how many marks were set. */
function writtenWith(files: TemplateFiles, context: unknown, options: Options) {
  if (!options.fn) throw refusal(options, 'is a block: {{#name}}…{{/name}}')
  const state = options.data.state as RenderState
  const before = state.fileMarks.set
  state.depth++
  try {
    const text = options.fn(context)
    const marks = state.fileMarks.set - before
    // A value that looks like a mark is none, and never becomes a file.
    if (marks > 0 && TemplateFiles.count(text) !== marks) state.fileMarks.sound = false
    return { text, whole: () => (marks > 0 && state.fileMarks.sound ? files.expand(text) : text), marks }
  } finally {
    state.depth--
  }
}

/** Writes a value, or leaves the mark that stands for it in a skeleton: a scalar of YAML wherever one may stand. */
function marked(options: Options, value: Value): string {
  const { values, depth, budget } = options.data.state as RenderState
  if (!values || depth > 0) return value.text
  budget.text(value.text.length)
  const index = values.push(value) - 1
  return value.columns === undefined ? `"\ue000${index}\ue000"` : `"\ue000${index}:${value.columns}\ue000"`
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
