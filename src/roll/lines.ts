import { isUtf8 } from 'node:buffer'

/**
 * A line of an import, counted from 1. With a `reason` it cannot be used: `text` is then what could be made of it, so that quotes still
 * count, and `lost` means that not even that is known. After a `fatal` one nothing more is read.
 */
export type Line = { line: number; text: string; reason?: string; lost?: true; fatal?: true }

/** Bytes of one line, and of one CSV record: room for a certificate and many variables, and a bound for our memory. */
export const maxLine = 262_144

const LF = 0x0a
const CR = 0x0d

/** Splits bytes that arrive in pieces into lines of UTF-8. Holds one unfinished line at most, whatever it is fed. */
export class LineSplitter {
  #line = 1
  #parts: Uint8Array[] = []
  #length = 0
  #skipping = false
  #started = false
  #ended = false

  /** @param chunk any piece of the file; kept until its last line ended, so it must not be changed */
  push(chunk: Uint8Array): Line[] {
    const lines: Line[] = []
    let from = 0
    for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, from)) {
      this.#keep(chunk.subarray(from, at), lines)
      this.#finish(lines)
      from = at + 1
      if (this.#ended) return lines
    }
    this.#keep(chunk.subarray(from), lines)
    return lines
  }

  /** The last line, if the file does not end with a line break. */
  end(): Line[] {
    const lines: Line[] = []
    if (this.#length > 0 && !this.#skipping && !this.#ended) this.#finish(lines)
    return lines
  }

  #keep(part: Uint8Array, lines: Line[]) {
    if (this.#skipping || this.#ended || part.length === 0) return
    this.#length += part.length
    if (this.#length <= maxLine) {
      this.#parts.push(part)
      return
    }
    lines.push({ line: this.#line, text: '', reason: `is longer than ${maxLine} bytes`, lost: true })
    this.#parts = []
    this.#skipping = true
  }

  #finish(lines: Line[]) {
    if (!this.#skipping && !this.#ended) lines.push(this.#read())
    this.#line += 1
    this.#parts = []
    this.#length = 0
    this.#skipping = false
  }

  #read(): Line {
    const line = this.#line
    let bytes = joined(this.#parts)
    if (!this.#started) {
      this.#started = true
      const reason = foreign(bytes)
      if (reason) {
        this.#ended = true
        return { line, text: '', reason, fatal: true }
      }
      if (bytes.subarray(0, 3).equals(utf8Mark)) bytes = bytes.subarray(3)
    }
    if (bytes.at(-1) === CR) bytes = bytes.subarray(0, -1)
    const text = bytes.toString('utf8')
    return isUtf8(bytes) ? { line, text } : { line, text, reason: 'is not valid UTF-8' }
  }
}

// Most lines lie whole in one piece, and need no copy.
function joined(parts: readonly Uint8Array[]): Buffer {
  const [first] = parts
  if (!first || parts.length > 1) return Buffer.concat(parts)
  return Buffer.from(first.buffer, first.byteOffset, first.length)
}

const utf8Mark = Buffer.from([0xef, 0xbb, 0xbf])

function foreign(bytes: Buffer): string | undefined {
  const [first, second] = bytes
  if (first === 0x1f && second === 0x8b) return 'the file is compressed: send it unpacked'
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    return 'the file is UTF-16: save it as UTF-8'
  }
  return undefined
}
