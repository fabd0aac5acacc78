/** One scalar of a document: what it says, and how YAML writes it. */
export type Scalar = { value: unknown; text: string }

/** The characters that marks are made of: no document has a use for them, and what looks like a mark but is none is found (skeleton.ts). */
export const markOf = { scalar: '\ue000', file: '\ue001', text: '\ue002' } as const
const anyMark = /[\ue000-\ue002]/
const firstMark = /^\ue002(\d+)\ue002/
const textMark = /\ue002(\d+)\ue002/g

// What can stand in a block scalar and in a here-document wherever a mark may, whatever stands around it: nothing but printable ASCII and
// line ends, and no line that could be, or become, the last one of a here-document (quoting.ts).
const tame = /^[\n -~]*$/
const lastLine = /(?:^|\n)E(?:OF|ND|[ON]?(?:\n|$))/

/**
 * What one rendering of a template keeps apart from its text: marks stand for it there. Of all documents of a profile revision the text is then the
 * same, so what is made of it is made once (skeleton.ts).
 */
export class Marks {
  /** Whole scalars of YAML, in order. */
  readonly scalars: Scalar[] = []
  /** Text inside of block scalars, in order. */
  readonly texts: string[] = []
  /** What the block scalars say, marks and all. */
  readonly blocks: string[] = []
  /** False: something was written that marks cannot be trusted with. */
  sound = true

  /** How many there are of each kind: two renderings of one skeleton have as many. */
  get counts(): string {
    return `${this.scalars.length} ${this.texts.length} ${this.blocks.length}`
  }

  /** A mark for a whole scalar. */
  scalar(scalar: Scalar): string {
    return `"\ue000${this.scalars.push(scalar) - 1}\ue000"`
  }

  /** A mark for text inside of a block scalar; line ends around it stay, since they decide what lines there are. */
  text(text: string): string {
    const core = withoutLineEnds(text)
    if (core === '') return text
    if (!tame.test(core) || lastLine.test(core)) {
      this.sound = false
      return text
    }
    const mark = `\ue002${this.texts.push(core) - 1}\ue002`
    return core.length === text.length ? mark : text.replace(core, () => mark)
  }

  /** Whether a block scalar may begin with this text: it takes its indentation from what stands there. */
  mayBegin(text: string): boolean {
    const first = text.startsWith(markOf.text) ? this.texts[Number(firstMark.exec(text)?.[1])] : undefined
    return first === undefined || !first.startsWith(' ')
  }

  /** Text that stands where it was written, outside of everything that marks stand for. */
  bare(text: string): string {
    if (anyMark.test(text)) this.sound = false
    return text
  }

  /** Text with its own marks replaced, all that were made since there were `from` of them: it goes on as a value itself. */
  whole(text: string, from: number): string {
    const whole = text.replace(textMark, (_, index) => this.texts[Number(index)] as string)
    this.texts.length = from
    return whole
  }
}

function withoutLineEnds(text: string): string {
  let start = 0
  let end = text.length
  while (text[start] === '\n') start++
  while (end > start && text[end - 1] === '\n') end--
  return text.slice(start, end)
}
