import type { Marks, Scalar } from './marks.ts'
import { PreparedText, PreparedTexts, worthPreparing } from './prepared-text.ts'
import type { Piece } from './rendered.ts'
import type { TemplateFiles } from './template-files.ts'

/** How a document is written: as its template says, or as the JSON of what its template says. */
export type Writing = 'text' | 'json'

/** Every mark of a skeleton, in either writing: a scalar by its number, a file or a text by number and columns. */
export const everyMark = /"\ue000(\d+)\ue000"|\ue001(\d+):(\d+)\ue001|\ue002(\d+):(\d+)\ue002/g

type Slot = (marks: Marks) => Piece

/** What all documents of one skeleton have in common, encoded already, with gaps for what is each one's own. */
export class Pattern {
  private readonly parts: (Piece | Slot)[] = []
  private readonly writing: Writing
  private readonly files: TemplateFiles
  private readonly prepared = new Map<string, PreparedTexts>()

  constructor(text: string, writing: Writing, files: TemplateFiles) {
    this.writing = writing
    this.files = files
    let from = 0
    for (const found of text.matchAll(everyMark)) {
      this.add(text.slice(from, found.index), this.standIn(found))
      from = found.index + found[0].length
    }
    this.add(text.slice(from))
  }

  /** The pieces of one document. */
  fill(marks: Marks): Piece[] {
    const pieces: Piece[] = []
    let text = ''
    for (const part of this.parts) {
      const piece = typeof part === 'function' ? part(marks) : part
      if (typeof piece === 'string') text += piece
      else {
        pieces.push(text, piece)
        text = ''
      }
    }
    pieces.push(text)
    return pieces.filter((piece) => piece !== '')
  }

  private add(...parts: (Piece | Slot)[]): void {
    for (const part of parts)
      this.parts.push(typeof part === 'string' && part.length >= worthPreparing ? new PreparedText(part) : part)
  }

  private standIn([, scalar, file, fileColumns, text, columns]: RegExpExecArray): Piece | Slot {
    if (scalar !== undefined) return this.scalar(Number(scalar))
    if (file !== undefined) return this.file(this.files.at(Number(file)) as string, fileColumns as string)
    const [index, write] = [Number(text), this.inBlock(columns as string)]
    return ({ texts }) => write(texts[index] as string)
  }

  private scalar(index: number): Slot {
    const write = this.writer('scalar', this.writing === 'text' ? (text) => text : (text) => JSON.stringify(text))
    if (this.writing === 'text') return ({ scalars }) => write((scalars[index] as Scalar).text)
    return ({ scalars }) => {
      const { value } = scalars[index] as Scalar
      return typeof value === 'string' ? write(value) : JSON.stringify(value)
    }
  }

  private file(text: string, columns: string): Piece {
    const written = this.blockWriting(columns)(text)
    return written.length < worthPreparing ? written : new PreparedText(written, true)
  }

  private inBlock(columns: string): (text: string) => Piece {
    return this.writer(this.writing === 'json' ? 'json' : columns, this.blockWriting(columns))
  }

  private blockWriting(columns: string): (text: string) => string {
    if (this.writing === 'json') return (text) => JSON.stringify(text).slice(1, -1)
    const margin = `\n${' '.repeat(Number(columns))}`
    return (text) => (text.includes('\n') ? text.replace(/\n(?=[^\n])/g, margin) : text)
  }

  /** A way to write texts, of which long ones are prepared: they are rarely one device's own. */
  private writer(name: string, write: (text: string) => string): (text: string) => Piece {
    const prepared = this.prepared.get(name) ?? new PreparedTexts(write, (text) => this.files.isUrl(text))
    this.prepared.set(name, prepared)
    return (text) => (text.length < worthPreparing ? write(text) : prepared.of(text))
  }
}
