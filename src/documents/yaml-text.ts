import YAML from 'yaml'
import { templateError } from './template-error.ts'

/** More than any document has, and little enough to be read in a blink. */
const bounds = { tokens: 20_000, depth: 64 } as const

/**
 * Reads YAML of which keys may stand once a mapping. What is too much of it is refused before it is read: its parser takes time by the square of the
 * keys, the depth and the errors.
 * @throws AppError `invalid` for too much; else a YAML error, with code and place, whose message may quote the text
 */
export function readYaml(text: string, version: '1.1' | '1.2'): unknown {
  refuseTooMuch(text)
  const lineCounter = new YAML.LineCounter()
  const options = { version, uniqueKeys: false, prettyErrors: false, lineCounter, logLevel: 'error' } as const
  const document = YAML.parseDocument(text, options)
  const error = document.errors[0] ?? doubleKey(document)
  if (!error) return document.toJS()
  const place = lineCounter.linePos(error.pos[0])
  throw Object.assign(error, { linePos: [place] })
}

function refuseTooMuch(text: string): void {
  let tokens = 0
  let depth = 0
  for (const token of new YAML.Lexer().lex(text)) {
    if (token === '[' || token === '{') depth++
    else if (token === ']' || token === '}') depth--
    if (++tokens > bounds.tokens || depth > bounds.depth)
      throw templateError([{ code: 'too_complex', message: 'the document has too many members, or too deep ones' }])
  }
}

// The parser's own look compares each key with all before it.
function doubleKey(document: YAML.Document.Parsed): YAML.YAMLParseError | undefined {
  let found: YAML.YAMLParseError | undefined
  YAML.visit(document, {
    Map(_, map) {
      const seen = new Set<unknown>()
      for (const { key } of map.items) {
        const name = YAML.isScalar(key) ? key.value : key
        if (seen.size !== seen.add(name).size) continue
        const [start = 0, end = 0] = (key as YAML.Node | null)?.range ?? []
        found = new YAML.YAMLParseError([start, end], 'DUPLICATE_KEY', 'Map keys must be unique')
        return YAML.visit.BREAK
      }
      return undefined
    },
  })
  return found
}
