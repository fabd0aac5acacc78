import { AppError } from '../errors.ts'
import { Budget } from './budget.ts'
import { checkCloudConfig, checkCloudConfigText, parseCloudConfig } from './cloud-init.ts'
import { compileTemplate } from './engine.ts'
import { checkIgnition, parseIgnition } from './ignition.ts'
import type { DocumentInput, RenderedDocument } from './input.ts'
import type { Builtin, ProfileSpec } from './profile.ts'
import { fill, isSound, marksAreLeaves, type Skeleton, withValues } from './skeleton.ts'
import type { Program } from './syntax.ts'
import { type Reason, templateError } from './template-error.ts'
import { type Files, TemplateFiles } from './template-files.ts'
import type { RenderState } from './template-helpers.ts'

/** What comes with Rollcall: the built-in documents, and the texts that templates may bring in by name. Read once at start. */
export type Builtins = { documents: Readonly<Record<Builtin, string>>; files: Files }

/** A profile revision's template, ready for any number of devices. */
export type CompiledDocument = {
  program: Program
  /**
   * The document of one device, checked.
   * @throws AppError `invalid`, with line and reason and without a value, if it did not render or is no document that a machine can use
   */
  render: (input: DocumentInput) => RenderedDocument
  /** As `render`, always parsed whole: for lint and preview, which have time. */
  renderWhole: (input: DocumentInput) => RenderedDocument & { parsed: unknown }
}

type Format = {
  contentType: RenderedDocument['contentType']
  parse: (text: string) => unknown
  checkText: (text: string) => Reason[]
  check: (parsed: unknown) => Reason[]
  body: (text: () => string, parsed: unknown) => string
  /** Whether the rendered text is the document, so that what is the same in all of them may be put in last. */
  isText: boolean
}

const formats: Record<ProfileSpec['document'], Format> = {
  'cloud-init': {
    contentType: 'text/cloud-config',
    parse: parseCloudConfig,
    checkText: checkCloudConfigText,
    check: checkCloudConfig,
    body: (text) => text(),
    isText: true,
  },
  ignition: {
    contentType: 'application/vnd.coreos.ignition+json;version=3.3.0',
    parse: parseIgnition,
    checkText: () => [],
    check: checkIgnition,
    body: (_, parsed) => `${JSON.stringify(parsed)}\n`,
    isText: false,
  },
}

/** Skeletons kept a document: one is the rule; a template that branches by device has a few. */
const kept = 16

/**
 * Compiles a profile's template, once a revision.
 * @throws AppError `invalid` with every problem and its line
 */
export function compileDocument(
  spec: Pick<ProfileSpec, 'document' | 'template'>,
  builtins: Builtins,
): CompiledDocument {
  const source = typeof spec.template === 'string' ? builtins.documents[spec.template] : spec.template.source
  const files = new TemplateFiles(builtins.files)
  const template = compileTemplate(source, files)
  const format = formats[spec.document]
  const skeletons = new Map<string, Learned>()
  const fresh = (values?: RenderState['values']): RenderState => ({
    budget: new Budget(),
    values,
    depth: 0,
    fileMarks: { allowed: format.isText && values !== undefined, set: 0, sound: true },
  })

  const renderWhole = (input: DocumentInput) => {
    const text = template.run(input, fresh())
    refuse(format.checkText(text))
    const parsed = parse(format, text)
    refuse(format.check(parsed))
    return { parsed, body: format.body(() => text, parsed), contentType: format.contentType }
  }

  const render = (input: DocumentInput) => {
    const values: Skeleton['values'] = []
    const state = fresh(values)
    const skeleton = { values, text: template.run(input, state) }
    const learned = state.fileMarks.sound && (skeletons.get(skeleton.text) ?? learn(format, skeleton, skeletons))
    if (!learned || learned.values !== values.length) return bare(renderWhole(input))
    const document = withValues(learned.parsed, values)
    refuse(format.check(document))
    const body = format.body(() => fill(skeleton, files), document)
    refuse(format.checkText(body))
    return { body, contentType: format.contentType }
  }

  return { program: template.program, render, renderWhole }
}

/** A skeleton that was parsed and found sound. */
type Learned = { parsed: unknown; values: number }

/** Parses a skeleton and keeps it, if marks can be replaced in it without a second look; else the document is parsed whole. */
function learn(format: Format, skeleton: Skeleton, skeletons: Map<string, Learned>): Learned | undefined {
  if (!isSound(skeleton)) return undefined
  const learned = { parsed: parse(format, skeleton.text), values: skeleton.values.length }
  if (!marksAreLeaves(learned.parsed, learned.values)) return undefined
  skeletons.set(skeleton.text, learned)
  if (skeletons.size > kept) skeletons.delete(skeletons.keys().next().value as string)
  return learned
}

function parse(format: Format, text: string): unknown {
  try {
    return format.parse(text)
  } catch (error) {
    if (error instanceof AppError) throw error
    // The message goes on with an excerpt of the document, secrets and all.
    const { code, linePos } = error as { code?: string; linePos?: [{ line: number }] }
    const where = linePos ? ` (line ${linePos[0].line} of the document)` : ''
    throw templateError([{ code: 'yaml', message: `the document is no YAML: ${code ?? 'unreadable'}${where}` }])
  }
}

/** Things wrong with a document that are told: who wrote so many needs no more. */
const told = 100

function refuse(problems: Reason[]): void {
  if (problems.length > 0) throw templateError(problems.slice(0, told))
}

const bare = ({ body, contentType }: RenderedDocument): RenderedDocument => ({ body, contentType })
