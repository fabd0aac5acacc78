import { checkCloudConfig, checkCloudConfigText, parseCloudConfig } from './cloud-init.ts'
import { compileTemplate } from './engine.ts'
import { checkIgnition, parseIgnition } from './ignition.ts'
import type { DocumentInput, RenderedDocument } from './input.ts'
import type { Builtin, ProfileSpec } from './profile.ts'
import { fill, isSound, marksAreLeaves, marksStandWell, type Skeleton, withValues } from './skeleton.ts'
import type { Program } from './syntax.ts'
import { type Reason, templateError } from './template-error.ts'
import type { Files } from './template-helpers.ts'

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
}

const formats: Record<ProfileSpec['document'], Format> = {
  'cloud-init': {
    contentType: 'text/cloud-config',
    parse: parseCloudConfig,
    checkText: checkCloudConfigText,
    check: checkCloudConfig,
    body: (text) => text(),
  },
  ignition: {
    contentType: 'application/vnd.coreos.ignition+json;version=3.3.0',
    parse: parseIgnition,
    checkText: () => [],
    check: checkIgnition,
    body: (_, parsed) => `${JSON.stringify(parsed)}\n`,
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
  const template = compileTemplate(source, builtins.files)
  const format = formats[spec.document]
  const skeletons = new Map<string, unknown>()

  const renderWhole = (input: DocumentInput) => {
    const text = template.run(input, { values: undefined, depth: 0 })
    const parsed = parse(format, text)
    refuse([...format.checkText(text), ...format.check(parsed)])
    return { parsed, body: format.body(() => text, parsed), contentType: format.contentType }
  }

  const render = (input: DocumentInput) => {
    const skeleton: Skeleton = { values: [], text: '' }
    skeleton.text = template.run(input, { values: skeleton.values, depth: 0 })
    const parsed = skeletons.get(skeleton.text) ?? learn(format, skeleton, skeletons)
    if (parsed === undefined) return bare(renderWhole(input))
    const document = withValues(parsed, skeleton.values)
    refuse(format.check(document))
    const body = format.body(() => fill(skeleton), document)
    refuse(format.checkText(body))
    return { body, contentType: format.contentType }
  }

  return { program: template.program, render, renderWhole }
}

/** Parses a skeleton and keeps it, if marks can be replaced in it without a second look; else the document is parsed whole. */
function learn(format: Format, skeleton: Skeleton, skeletons: Map<string, unknown>): unknown {
  if (!isSound(skeleton) || !marksStandWell(skeleton)) return undefined
  const parsed = parse(format, skeleton.text)
  if (!marksAreLeaves(parsed, skeleton.values.length)) return undefined
  skeletons.set(skeleton.text, parsed)
  if (skeletons.size > kept) skeletons.delete(skeletons.keys().next().value as string)
  return parsed
}

function parse(format: Format, text: string): unknown {
  try {
    return format.parse(text)
  } catch (error) {
    // The message goes on with an excerpt of the document, secrets and all.
    const { code, linePos } = error as { code?: string; linePos?: [{ line: number }] }
    const where = linePos ? ` (line ${linePos[0].line} of the document)` : ''
    throw templateError([{ code: 'yaml', message: `the document is no YAML: ${code ?? 'unreadable'}${where}` }])
  }
}

function refuse(problems: Reason[]): void {
  if (problems.length > 0) throw templateError(problems)
}

const bare = ({ body, contentType }: RenderedDocument): RenderedDocument => ({ body, contentType })
