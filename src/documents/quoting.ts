// What JSON leaves bare but YAML 1.1 (PyYAML, cloud-init's parser) refuses or takes for a line break: DEL and C1 controls,
// U+2028 and U+2029, the byte order mark, two non-characters.
const untold = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g

// Most values: what JSON quotes without an escape.
const simple = /^[ !#-[\]-~]*$/

const escaped = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`

/**
 * A value as JSON that is also YAML, on one line: fits wherever YAML wants a scalar or a flow collection.
 * @throws TypeError for what JSON cannot say, a NUL or a lone surrogate
 */
export function yamlFlow(value: unknown): string {
  if (typeof value === 'string' && simple.test(value)) return `"${value}"`
  const text = JSON.stringify(value)
  if (text === undefined) throw new TypeError('has no value')
  // JSON.stringify writes NULs and lone surrogates as escapes; looked for there, a deep value needs no walk.
  if (/(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/.test(text))
    throw new TypeError('holds a NUL or half a character')
  return text.replace(untold, escaped)
}

/** Text as one word of POSIX shell: `'…'`, where nothing means anything. */
export function shellWord(text: string): string {
  return `'${possible(text).replaceAll("'", "'\\''")}'`
}

/**
 * Text as a YAML block scalar, readable line by line; double-quoted where a block cannot say it. Whoever writes it ends the line.
 * @param indent columns of its lines; must be more than those of what it belongs to
 */
export function yamlBlock(text: string, indent: number): string {
  if (!isTellable(text)) return yamlFlow(text)
  const margin = ' '.repeat(indent)
  return `|\n${margin}${text.slice(0, -1).replace(/\n(?=[^\n])/g, `\n${margin}`)}`
}

/**
 * Whether a block scalar can say a text: no leading space (YAML takes the indent from the first line), one line end at the end, nothing that ends or
 * hides a line.
 */
export function isTellable(text: string): boolean {
  if (!/^[^\s]/.test(text) || !/[^\n]\n$/.test(text)) return false
  return plain.test(text) || (!untellable.test(text) && isPossible(text))
}

// Nearly every text: looked at first, since it is the quicker look.
const plain = /^[\t\n -~\ue000-\uefff]*$/

const untellable = /[^\P{Cc}\t\n]|[\u2028\u2029\ufeff\ufffe\uffff]/u

/**
 * A here-document of POSIX shell: `<<'EOF'`, the text as it is, `EOF`. Here the shell neither expands nor shows anything, and the text is in
 * no process's arguments. The text ends in one line end, whatever it ended in.
 * @param whole the text as it will stand there in the end, if `text` is not that yet: the last line must be none of its own
 */
export function hereDocument(text: string, whole = text): string {
  const body = `${withoutLastLineEnds(possible(text))}\n`
  const end = lastLine(`\n${whole}`)
  return `<<'${end}'\n${body}${end}\n`
}

// Not /\n+$/, which looks from every line end of a run, in the middle too.
function withoutLastLineEnds(text: string): string {
  let end = text.length
  while (text[end - 1] === '\n') end--
  return text.slice(0, end)
}

/** A line that ends a here-document of these lines: none of them begins with it. */
function lastLine(lines: string): string {
  for (const first of ['EOF', 'END', ...'ABCDFGHIJKLMNOPQRSTUVWXYZ']) {
    const longest = lines
      .match(new RegExp(`\\n${first}_*`, 'g'))
      ?.reduce((most, { length }) => Math.max(most, length), 0)
    const end = longest === undefined ? first : first.padEnd(longest, '_')
    if (Buffer.byteLength(lines) === lines.length || !tripsDash(lines, end)) return end
  }
  throw new TypeError('begins its lines with every letter')
}

// dash 0.5.12 compares each line with the last one, and where they part at a letter beyond ASCII it loses that letter's first byte.
function tripsDash(lines: string, end: string): boolean {
  const start = `\n${end[0]}`
  for (let at = lines.indexOf(start); at >= 0; at = lines.indexOf(start, at + 1)) {
    let same = 1
    while (same < end.length && lines[at + 1 + same] === end[same]) same++
    if (lines.charCodeAt(at + 1 + same) > 127) return true
  }
  return false
}

/** Text as a data URL, which is all that Ignition can be handed a file's content in. */
export function dataUrl(text: string): string {
  return `data:;base64,${Buffer.from(possible(text)).toString('base64')}`
}

// A lone surrogate has no UTF-8, and no program on a node can be handed a NUL.
function isPossible(text: string): boolean {
  return !text.includes('\0') && (text as string & { isWellFormed: () => boolean }).isWellFormed()
}

function possible(text: string): string {
  if (!isPossible(text)) throw new TypeError('holds a NUL or half a character')
  return text
}
