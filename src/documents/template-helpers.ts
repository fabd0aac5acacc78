import type Handlebars from 'handlebars'
import { dataUrl, hereDocument, shellWord, yamlBlock, yamlFlow } from './quoting.ts'
import { type Reason, templateError } from './template-error.ts'

/** Texts of ours that a template may bring in by name, e.g. the node's script. */
export type Files = Readonly<Record<string, string>>

/** What one rendering leaves behind beside its text. */
export type RenderState = {
  /** Undefined: values are written where they stand. Else helpers leave marks (skeleton.ts) and put the values here, in order. */
  values: Value[] | undefined
  /** Depth of blocks whose text becomes a value itself: inside, nothing is marked. */
  depth: number
}

/** One scalar of a document: what it says, and how it is written. */
export type Value = { value: unknown; text: string; style: 'flow' | 'block' }

/** Stands in a skeleton for the value of this index: a scalar of YAML wherever one may stand. */
export const mark = (index: number) => `"\ue000${index}\ue000"`

type Options = Handlebars.HelperOptions & { name: string; loc?: { start: { line: number } } }
type Helper = (this: unknown, ...args: never[]) => unknown

/**
 * Everything that a template can call. Handlebars' strict mode does not look at what helpers are given, so each helper
 * refuses an argument without a value itself.
 */
export function templateHelpers(handlebars: typeof Handlebars, files: Files): Record<string, Helper> {
  const { each, if: when, unless, with: inside } = handlebars.helpers as Record<string, Helper>
  return {
    each: given(each as Helper),
    if: given(when as Helper),
    unless: given(unless as Helper),
    with: given(inside as Helper),
    ...comparing,
    ...writing,
    file: given((name: string, options: Options) => {
      if (!Object.hasOwn(files, name)) throw refusal(options, `there is no file ${JSON.stringify(name)}`)
      return files[name]
    }),
  }
}

const comparing: Record<string, Helper> = {
  eq: given((a: unknown, b: unknown) => a === b),
  not: given((a: unknown) => !a),
  default: given((from: object, key: string, otherwise: unknown) =>
    Object.hasOwn(from, key) ? (from as Record<string, unknown>)[key] : otherwise,
  ),
  join: given((list: unknown[], separator: string, options: Options) =>
    list.map((item) => scalar(item, options)).join(separator),
  ),
  concat: given((...args: unknown[]) => {
    const options = args.pop() as Options
    return args.map((item) => scalar(item, options)).join('')
  }),
}

const writing: Record<string, Helper> = {
  yaml: given((value: unknown, options: Options) => marked(options, value, yamlFlow(value), 'flow')),
  json: given((value: unknown, options: Options) => marked(options, value, yamlFlow(value), 'flow')),
  sh: given((value: unknown, options: Options) => shellWord(scalar(value, options))),
  b64: given((value: unknown, options: Options) => Buffer.from(scalar(value, options)).toString('base64')),
  indent: given((columns: number, text: string) => text.replace(/^(?=[^\n])/gm, ' '.repeat(columns))),
  /** `{{#block 4}}…{{/block}}`: the text between as a YAML block scalar. A closing tag alone on its line takes the line end with it. */
  block: given(function (this: unknown, columns: number, options: Options) {
    const text = written(this, options)
    return `${marked(options, text, yamlBlock(text, columns), 'block')}\n`
  }),
  /** `{{dataUrl text}}` or `{{#dataUrl}}…{{/dataUrl}}`: quoted, for Ignition's `source`. */
  dataUrl: given(function (this: unknown, ...args: unknown[]) {
    const options = args.pop() as Options
    const url = dataUrl(args.length > 0 ? scalar(args[0], options) : written(this, options))
    return `${marked(options, url, yamlFlow(url), 'flow')}${args.length > 0 ? '' : '\n'}`
  }),
  /** `{{#place "0600" "/path"}}text{{/place}}`: a call of the shell function `place`, the text on its standard input. */
  place: given(function (this: unknown, mode: string, path: string, options: Options) {
    return `place ${mode} ${path} ${hereDocument(written(this, options))}`
  }),
}

/** The text between a block helper's tags. */
function written(context: unknown, options: Options): string {
  if (!options.fn) throw refusal(options, 'is a block: {{#name}}…{{/name}}')
  const state = options.data.state as RenderState
  state.depth++
  try {
    return options.fn(context).replace(/^\n/, '')
  } finally {
    state.depth--
  }
}

function marked(options: Options, value: unknown, text: string, style: Value['style']): string {
  const { values, depth } = options.data.state as RenderState
  if (!values || depth > 0) return text
  return mark(values.push({ value, text, style }) - 1)
}

function scalar(value: unknown, options: Options): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  throw refusal(options, 'wants a string, a number or a boolean')
}

/** Wraps a helper so that an argument without a value, and whatever it cannot say, is a refusal with the template's line. */
function given(helper: Helper): Helper {
  return function (this: unknown, ...args: never[]) {
    const options = args.at(-1) as unknown as Options
    if (args.slice(0, -1).some((argument) => argument === undefined))
      throw refusal(options, 'was given a variable that does not exist')
    try {
      return helper.apply(this, args)
    } catch (error) {
      if (error instanceof TypeError) throw refusal(options, `was given a value that ${error.message}`)
      throw error
    }
  }
}

function refusal(options: Options, why: string) {
  const reason: Reason = { code: 'helper', message: `{{${options.name}}} ${why}` }
  const line = options.loc?.start.line
  return templateError([line === undefined ? reason : { ...reason, line }])
}
