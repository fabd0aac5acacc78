import { AppError } from '../errors.ts'
import { Budget } from './budget.ts'
import { checkCloudConfig, checkCloudConfigText, parseCloudConfig } from './cloud-init.ts'
import { compileTemplate, limits } from './engine.ts'
import { checkIgnition, parseIgnition } from './ignition.ts'
import type { DocumentInput } from './input.ts'
import { Marks } from './marks.ts'
import { Pattern, type Writing } from './pattern.ts'
import type { Builtin, ProfileSpec } from './profile.ts'
import { type ContentType, RenderedDocument } from './rendered.ts'
import { isSound, marksAreLeaves, saysItself, withScalars } from './skeleton.ts'
import type { Program } from './syntax.ts'
import { type Reason, templateError } from './template-error.ts'
import { type Files, TemplateFiles } from './template-files.ts'

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
  contentType: ContentType
  parse: (text: string) => unknown
  checkText: (text: string) => Reason[]
  check: (parsed: unknown) => Reason[]
  /** Whether the rendered text is the document, or what it says as JSON. */
  writing: Writing
}

const formats: Record<ProfileSpec['document'], Format> = {
  'cloud-init': {
    contentType: 'text/cloud-config',
    parse: parseCloudConfig,
    checkText: checkCloudConfigText,
    check: checkCloudConfig,
    writing: 'text',
  },
  ignition: {
    contentType: 'application/vnd.coreos.ignition+json;version=3.3.0',
    parse: parseIgnition,
    checkText: () => [],
    check: checkIgnition,
    writing: 'json',
  },
}

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
  const skeletons = new Skeletons()

  const renderWhole = (input: DocumentInput) => {
    const text = template.run(input, { budget: new Budget(), marks: undefined, depth: 0 })
    refuse(format.checkText(text))
    const parsed = parse(format, text)
    refuse(format.check(parsed))
    return Object.assign(new RenderedDocument(format.contentType, [written(format, text, parsed)]), { parsed })
  }

  // The first document of a skeleton is made both ways, and is the same, or the skeleton is none.
  const proved = (marks: Marks, input: DocumentInput, skeleton: Skeleton | undefined) => {
    const through = skeleton && fill(format, skeleton, marks)
    return through?.bytes.equals(renderWhole(input).bytes) ? skeleton : undefined
  }

  const render = (input: DocumentInput) => {
    const marks = new Marks()
    const text = template.run(input, { budget: new Budget(), marks, depth: 0 })
    const skeleton = marks.sound
      ? skeletons.find(text, () => proved(marks, input, learn(format, text, marks, files)))
      : undefined
    const document = skeleton && fill(format, skeleton, marks)
    // What a skeleton cannot say is looked at whole: either there is nothing wrong with it, or this says what.
    return document ?? renderWhole(input)
  }

  return { program: template.program, render, renderWhole }
}

const written = ({ writing }: Format, text: string, parsed: unknown) =>
  writing === 'text' ? text : `${JSON.stringify(parsed)}\n`

/** A skeleton that was found sound, parsed, and made into a pattern. */
type Skeleton = { parsed: unknown; counts: string; pattern: Pattern }

function learn(format: Format, text: string, marks: Marks, files: TemplateFiles): Skeleton | undefined {
  if (!isSound(text, marks)) return undefined
  const parsed = attempt(() => format.parse(text))
  if (parsed === undefined || !marksAreLeaves(parsed, marks)) return undefined
  const pattern = new Pattern(written(format, text, parsed), format.writing, files)
  return { parsed, counts: marks.counts, pattern }
}

/** A document by its skeleton; undefined where only the whole can tell. */
function fill(format: Format, skeleton: Skeleton, marks: Marks): RenderedDocument | undefined {
  if (skeleton.counts !== marks.counts) return undefined
  if (format.writing === 'text' && !marks.scalars.every(saysItself)) return undefined
  if (format.check(withScalars(skeleton.parsed, marks.scalars)).length > 0) return undefined
  const document = new RenderedDocument(format.contentType, skeleton.pattern.fill(marks))
  const isFine = document.bytes.length <= limits.output && format.checkText(document.head).length === 0
  return isFine ? document : undefined
}

/** Skeletons kept a document: one is the rule; a template that branches by device has a few. */
const kept = 16

/** The skeletons of one template, and those that are none. */
class Skeletons {
  private readonly known = new Map<string, Skeleton | null>()
  private used = 0
  private learnt = 0

  find(text: string, learn: () => Skeleton | undefined): Skeleton | undefined {
    const known = this.known.get(text)
    if (known !== undefined) {
      this.used++
      return known ?? undefined
    }
    // Of a template whose text is another each time nothing is gained.
    if (this.learnt > kept && this.learnt > this.used) return undefined
    this.learnt++
    const skeleton = learn()
    this.known.set(text, skeleton ?? null)
    if (this.known.size > kept) this.known.delete(this.known.keys().next().value as string)
    return skeleton
  }
}

function attempt<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch {
    return undefined
  }
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
