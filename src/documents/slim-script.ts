/**
 * A shell script as it travels in a document: without its comment lines, blank lines and indentation, a fifth less for every device to fetch
 * and for the database to keep.
 * @param text holds no here-document or quoted text whose lines begin with a space or a `#`
 */
export function slimScript(text: string): string {
  const [shebang = '', ...lines] = text.split('\n')
  const kept = lines.map((line) => line.trimStart()).filter((line) => line !== '' && !line.startsWith('#'))
  return `${[shebang, ...kept].join('\n')}\n`
}
