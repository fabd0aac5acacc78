// What JSON leaves bare but YAML 1.1 (PyYAML, cloud-init's parser) refuses or takes for a line break: DEL and C1 controls,
// U+2028 and U+2029, the byte order mark, two non-characters.
const untold = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g
// A lone surrogate has no UTF-8, and no program on a node can be handed a NUL.
const impossible = /[\0\ud800-\udfff]/u

const escaped = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`

/**
 * A value as JSON that is also YAML, on one line: fits wherever YAML wants a scalar or a flow collection.
 * @throws TypeError for what JSON cannot say, a NUL or a lone surrogate
 */
export function yamlFlow(value: unknown): string {
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
  if (!tellable.test(text)) return yamlFlow(text)
  const margin = ' '.repeat(indent)
  return `|\n${margin}${text.slice(0, -1).replace(/\n(?=[^\n])/g, `\n${margin}`)}`
}

// A first line without leading space (YAML guesses the indent from it), one line end at the end, no character that ends or hides a line.
const tellable =
  /^[^\s](?:[\t\n\x20-\x7e\u00a0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]|[\ud800-\udbff][\udc00-\udfff])*[^\n]\n$/

/**
 * A here-document of POSIX shell: `<<'EOF'`, the text as it is, `EOF`. Here the shell neither expands nor shows anything, and the text is in
 * no process's arguments. The text ends in one line end, whatever it ended in.
 */
export function hereDocument(text: string): string {
  const body = possible(text).replace(/\n*$/, '\n')
  let end = 'EOF'
  while (`\n${body}`.includes(`\n${end}\n`)) end += '_'
  return `<<'${end}'\n${body}${end}\n`
}

/** Text as a data URL, which is all that Ignition can be handed a file's content in. */
export function dataUrl(text: string): string {
  return `data:;base64,${Buffer.from(possible(text)).toString('base64')}`
}

function possible(text: string): string {
  if (impossible.test(text)) throw new TypeError('holds a NUL or half a character')
  return text
}
