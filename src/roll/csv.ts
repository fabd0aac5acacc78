import { type Line, maxLine } from './lines.ts'

/** One record of a CSV file; `line` is where it begins. */
export type Row = { line: number; cells: string[] } | { line: number; reason: string; fatal?: true }

// Our own reader, not a library's, for its line numbers: a record is named by its first line, quoted line breaks and bad bytes included.
/** Reads CSV (RFC 4180) line by line; a quoted cell may hold commas, doubled quotes and line breaks, which become LF. Empty lines are skipped. */
export class CsvRecords {
  #cells: string[] = []
  /** Text of the quoted cell that a line break interrupted. */
  #open: string[] | undefined
  #first = 0
  #size = 0
  #damage: string | undefined
  #ended = false

  /** @returns the record that this line completes, or undefined while there is none */
  next(input: Line): Row | undefined {
    if (this.#ended) return undefined
    if (this.#open === undefined) {
      if (input.lost || input.fatal) return this.#refuse(input.line, input.reason, input.fatal)
      if (input.text === '') return undefined
      if (!input.reason && !input.text.includes('"')) return { line: input.line, cells: input.text.split(',') }
      this.#begin(input.line)
    }
    this.#damage ??= input.reason
    this.#size += input.text.length + 1
    const outcome = this.#read(input.text)
    if (outcome === 'open') return input.lost || this.#size > maxLine ? this.#unclosed() : undefined
    this.#open = undefined
    if (this.#damage) return this.#refuse(this.#first, this.#damage)
    if (outcome === 'bad') return this.#refuse(this.#first, 'has a quote where none may stand')
    return { line: this.#first, cells: this.#cells }
  }

  /** What is left when the file ended. */
  end(): Row | undefined {
    return this.#open !== undefined && !this.#ended ? this.#unclosed() : undefined
  }

  #begin(line: number) {
    this.#first = line
    this.#size = 0
    this.#cells = []
    this.#damage = undefined
  }

  #refuse(line: number, reason = '', fatal?: true): Row {
    if (fatal) this.#ended = true
    return fatal ? { line, reason, fatal } : { line, reason }
  }

  #unclosed(): Row {
    return this.#refuse(this.#first, 'opens a quote that is never closed: what follows was not read', true)
  }

  #read(text: string): 'whole' | 'open' | 'bad' {
    let at = 0
    if (this.#open) this.#open.push('\n')
    for (;;) {
      if (this.#open === undefined && text[at] === '"') {
        this.#open = []
        at += 1
      }
      const next = this.#open === undefined ? this.#plain(text, at) : this.#quoted(text, at)
      if (typeof next === 'string') return next
      at = next
    }
  }

  #plain(text: string, at: number): number | 'whole' | 'bad' {
    const comma = text.indexOf(',', at)
    const cell = comma < 0 ? text.slice(at) : text.slice(at, comma)
    if (cell.includes('"')) return 'bad'
    this.#cells.push(cell)
    return comma < 0 ? 'whole' : comma + 1
  }

  #quoted(text: string, from: number): number | 'whole' | 'open' | 'bad' {
    const open = this.#open as string[]
    for (let at = from; ; ) {
      const quote = text.indexOf('"', at)
      if (quote < 0) {
        open.push(text.slice(at))
        return 'open'
      }
      open.push(text.slice(at, quote))
      if (text[quote + 1] === '"') {
        open.push('"')
        at = quote + 2
        continue
      }
      this.#cells.push(open.join(''))
      this.#open = undefined
      if (quote + 1 === text.length) return 'whole'
      return text[quote + 1] === ',' ? quote + 2 : 'bad'
    }
  }
}
