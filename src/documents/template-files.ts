import { dataUrl, hereDocument, isTellable } from './quoting.ts'

/** Texts of ours that a template may bring in by name, e.g. the node's script. */
export type Files = Readonly<Record<string, string>>

const marks = /\ue001(\d+)\ue001/g

/**
 * The files of one template. They are most of a document's bytes and the same in each, so while a skeleton is rendered (skeleton.ts) a mark stands
 * for a file; it is replaced last, by a text that was prepared once.
 */
export class TemplateFiles {
  private readonly names: string[]
  private readonly texts: string[]
  private readonly indented = new Map<string, string>()
  private readonly urls = new Map<string, string>()
  private readonly hereDocuments = new Map<string, string>()

  /** The line end at the end of a file is left out: a template has its own after the file's name. */
  constructor(files: Files) {
    this.names = Object.keys(files)
    this.texts = Object.values(files).map((text) => text.replace(/\n+$/, ''))
  }

  /** The text of a file, or undefined. */
  text(name: string): string | undefined {
    return this.texts[this.names.indexOf(name)]
  }

  /** What stands for a file that a block scalar can say; undefined for one that it cannot. */
  mark(name: string): string | undefined {
    const index = this.names.indexOf(name)
    return isTellable(`${this.texts[index]}\n`) ? `\ue001${index}\ue001` : undefined
  }

  /** A text with its files in place. */
  expand(text: string): string {
    return text.replace(marks, (_, index) => this.texts[index] as string)
  }

  /** A here-document that brings files; kept, since nothing else stands in it as a rule. */
  hereDocument(text: string): string {
    const known = this.hereDocuments.get(text)
    if (known !== undefined) return known
    const made = hereDocument(text, this.expand(text))
    if (this.hereDocuments.size > 15) this.hereDocuments.clear()
    this.hereDocuments.set(text, made)
    return made
  }

  /** Lines that are indented already, with their files in place, indented too. */
  expandIndented(text: string, columns: number): string {
    if (!text.includes('\ue001')) return text
    return text.replace(marks, (_, index) => this.indentedText(index, columns))
  }

  /** A file's whole text as data URL, made once; undefined if the text is no file's. */
  url(text: string): string | undefined {
    if (!text.endsWith('\n')) return undefined
    const known = this.urls.get(text)
    if (known !== undefined || !this.texts.includes(text.slice(0, -1))) return known
    const made = dataUrl(text)
    this.urls.set(text, made)
    return made
  }

  /** How many marks of files a text has: more than were set means that a value looks like one. */
  static count(text: string): number {
    return text.split('\ue001').length - 1
  }

  private indentedText(index: number, columns: number): string {
    const key = `${index}/${columns}`
    const known = this.indented.get(key)
    if (known !== undefined) return known
    const made = (this.texts[index] as string).replace(/\n(?=[^\n])/g, `\n${' '.repeat(columns)}`)
    this.indented.set(key, made)
    return made
  }
}
