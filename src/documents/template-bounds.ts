import type { Reason } from './template-error.ts'

/** More than any document needs, and little enough that Handlebars reads it in a blink. */
export const bounds = { depth: 32, tags: 1_000, words: 20_000, blank: 256 } as const

/**
 * What must be known of a template before Handlebars reads it: its parser copies its stacks with every step, so its time grows with the square of the depth,
 * and it looks at each blank before a tag from every other blank of the same run. One pass, by the rules of Handlebars' own lexer.
 */
export function checkBounds(source: string): Reason[] {
  const scan = new Scan(source)
  const found = scan.run()
  if (found === undefined) return []
  const before = source.slice(0, scan.at).match(/\n/g)
  return [{ ...found, line: (before?.length ?? 0) + 1 }]
}

type Found = Pick<Reason, 'code' | 'message'>

const blanks = new RegExp(`\\s{${bounds.blank + 1}}`)

// Strings and names in brackets may hold anything; a quote or bracket that nothing ends is one that Handlebars refuses.
const word = /"(?:\\"|[^"])*"|'(?:\\'|[^'])*'|\[(?:\\\]|[^\]])*\]|\}\}|[()"'[]|[^\s()"'[\]}./|=]+|\s+|[\s\S]/y
const unended = new Set(['"', "'", '['])

class Scan {
  at = 0
  private tags = 0
  private words = 0
  private readonly source: string
  /** For each open block, how deep it nests: `{{else if}}` is a block inside the one before. */
  private readonly blocks: number[] = []

  constructor(source: string) {
    this.source = source
  }

  run(): Found | undefined {
    const blank = blanks.exec(this.source)
    if (blank) {
      this.at = blank.index
      return tooMuch(`has more than ${bounds.blank} blanks in a row`)
    }
    for (let open = this.next(); open >= 0; open = this.next()) {
      this.at = open
      if (++this.tags > bounds.tags) return tooMuch(`has more than ${bounds.tags} tags`)
      if (this.source.startsWith('{{{{', open)) return { code: 'raw_block', message: 'raw blocks are not allowed' }
      const found = this.isComment() ? this.comment() : (this.block() ?? this.tag())
      if (found) return found
    }
    return undefined
  }

  /** Where the next tag begins, passing over those that are escaped by one backslash. */
  private next(): number {
    let open = this.source.indexOf('{{', this.at)
    while (
      open > this.at &&
      this.source[open - 1] === '\\' &&
      !(open - 2 >= this.at && this.source[open - 2] === '\\')
    ) {
      this.at = open + 2
      open = this.source.indexOf('{{', this.at)
    }
    return open
  }

  private isComment(): boolean {
    return /^\{\{~?!/.test(this.source.slice(this.at, this.at + 4))
  }

  private comment(): undefined {
    const end = /^\{\{~?!--/.test(this.source.slice(this.at, this.at + 6)) ? /--~?\}\}/g : /\}\}/g
    end.lastIndex = this.at
    this.at = end.exec(this.source) ? end.lastIndex : this.source.length
  }

  private block(): Found | undefined {
    const head = this.source.slice(this.at, this.at + bounds.blank + 16)
    if (/^\{\{~?\//.test(head)) this.blocks.pop()
    else if (/^\{\{~?\s*else(?!\s*~?\}\})/.test(head)) this.blocks.push((this.blocks.pop() ?? 0) + 1)
    else if (/^\{\{~?(?:#|\^(?!\s*~?\}\}))/.test(head)) this.blocks.push(1)
    else return undefined
    const depth = this.blocks.reduce((sum, own) => sum + own, 0)
    return depth > bounds.depth ? tooMuch(`nests blocks more than ${bounds.depth} deep`) : undefined
  }

  /** Goes to the end of a tag. */
  private tag(): Found | undefined {
    let depth = 0
    word.lastIndex = this.at + 2
    for (let found = word.exec(this.source); found; found = word.exec(this.source)) {
      const [text] = found
      if (++this.words > bounds.words) return tooMuch(`has more than ${bounds.words} words in its tags`)
      if (text === '(') depth++
      else if (text === ')') depth--
      if (depth > bounds.depth) return tooMuch(`nests helpers more than ${bounds.depth} deep`)
      this.at = word.lastIndex
      if (text === '}}') return undefined
      if (unended.has(text)) break
    }
    this.at = this.source.length
    return undefined
  }
}

const tooMuch = (message: string): Found => ({ code: 'too_complex', message })
