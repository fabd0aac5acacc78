import { markOf } from './marks.ts'
import { dataUrl, hereDocument, isTellable, yamlBlock } from './quoting.ts'

/** Texts of ours that a template may bring in by name, e.g. the node's script. */
export type Files = Readonly<Record<string, string>>

/** A block scalar as it is written, and what it says; marks know their columns in both. */
export type Block = { literal: string; content: string }

const marks = /\ue001(\d+)\ue001/g
const anyMarks = /([\ue001\ue002])(\d+)\1/g

/**
 * The files of one template. They are most of a document's bytes and the same in each, so a mark stands for a file until the very end (pattern.ts), and
 * what is made of a text with marks is made once.
 */
export class TemplateFiles {
  private readonly names: string[]
  private readonly texts: string[]
  private readonly tellable: boolean[]
  private readonly urls = new Map<number, string>()
  private readonly hereDocuments = new Map<string, string>()
  private readonly blocks = new Map<string, Block | undefined>()

  /** The line end at the end of a file is left out: a template has its own after the file's name. */
  constructor(files: Files) {
    this.names = Object.keys(files)
    this.texts = Object.values(files).map((text) => text.replace(/\n+$/, ''))
    this.tellable = this.texts.map((text) => isTellable(`${text}\n`))
  }

  /** The text of a file, or undefined. */
  text(name: string): string | undefined {
    return this.at(this.names.indexOf(name))
  }

  /** The text of the file that a mark names, or undefined. */
  at(index: number): string | undefined {
    return this.texts[index]
  }

  /** What stands for a file that a block scalar can say; undefined for one that it cannot. */
  mark(name: string): string | undefined {
    const index = this.names.indexOf(name)
    return this.tellable[index] ? `${markOf.file}${index}${markOf.file}` : undefined
  }

  /** A text with its files in place. */
  expand(text: string): string {
    return text.includes(markOf.file) ? text.replace(marks, (_, index) => this.texts[index] as string) : text
  }

  /** A here-document of a text with marks. */
  hereDocument(text: string): string {
    return keep(this.hereDocuments, text, () => hereDocument(text, this.expand(text)))
  }

  /** A text with marks as block scalar; undefined for what only a quoted scalar can say. */
  block(text: string, columns: number): Block | undefined {
    return keep(this.blocks, `${columns} ${text}`, () => {
      const literal = yamlBlock(text, columns)
      const told = (marked: string) => marked.replace(anyMarks, `$1$2:${columns}$1`)
      return literal.startsWith('|') ? { literal: told(literal), content: told(text) } : undefined
    })
  }

  /** Whether a text is what `url` made of a file. */
  isUrl(text: string): boolean {
    return [...this.urls.values()].includes(text)
  }

  /** A file's whole text as data URL, made once; undefined if the text is not one file's mark. */
  url(text: string): string | undefined {
    const index = /^\ue001(\d+)\ue001\n$/.exec(text)?.[1]
    return index === undefined
      ? undefined
      : keep(this.urls, Number(index), () => dataUrl(`${this.texts[Number(index)]}\n`))
  }
}

function keep<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  if (map.has(key)) return map.get(key) as V
  const made = make()
  if (map.size >= 64) map.clear()
  map.set(key, made)
  return made
}
