/**
 * The values of a header as its lines came: Node keeps one of several Host or Authorization lines, and making its object of headers costs more than
 * a short way takes in all.
 * @param rawHeaders names and values in turn
 * @param name in lower case
 */
export function linesOf(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const given = rawHeaders[i] as string
    if (given.length === name.length && given.toLowerCase() === name) values.push(rawHeaders[i + 1] as string)
  }
  return values
}

/**
 * Whether a request announces content (RFC 9112 §6.3).
 * @param header its value, of a name in lower case; Node lets in no second Content-Length
 */
export function hasContent(header: (name: string) => string | undefined): boolean {
  return header('transfer-encoding') !== undefined || !/^0+$/.test(header('content-length') ?? '0')
}
