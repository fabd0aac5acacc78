// Postgres takes neither NUL nor lone surrogates, and a console or a shell must not be led astray by what an admin pasted.
const unfit = /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]/u
const unfitLines = /[^\P{Cc}\n\t]|[\p{Cs}\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]/u

/** Whether a text is one line that can be stored and shown: no control characters, lone surrogates or bidirectional overrides. */
export function isLine(text: string): boolean {
  return !unfit.test(text)
}

/** As `isLine`, with line breaks and tabs allowed. */
export function isText(text: string): boolean {
  return !unfitLines.test(text)
}

/** What is left of a text that a device sent once it is fit to be stored and shown as one line of at most `length` characters. */
export function toLine(text: string, length: number): string {
  return text
    .slice(0, length)
    .replace(/[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]+/gu, ' ')
    .trim()
}
