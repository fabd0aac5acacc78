import { storedBlocks } from './packed.ts'
import { PreparedText, type SharedPart } from './prepared-text.ts'

export type ContentType = 'text/cloud-config' | 'application/vnd.coreos.ignition+json;version=3.3.0'

/** A part of a document: its own text, or one that was prepared for many. */
export type Piece = string | PreparedText

/** A document as blocks of raw deflate: its own, and between them a file of ours, if it holds one. */
export type Packed = { before: Buffer[]; shared: SharedPart | undefined; after: Buffer[] }

/** One device's document. */
export class RenderedDocument {
  readonly contentType: ContentType
  /** What is sent: UTF-8 */
  readonly bytes: Buffer
  private readonly parts: readonly (Buffer | PreparedText)[]

  constructor(contentType: ContentType, pieces: readonly Piece[]) {
    this.contentType = contentType
    this.parts = pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece))
    this.bytes = Buffer.concat(this.parts.map((part) => (part instanceof PreparedText ? part.bytes : part)))
  }

  get body(): string {
    return this.bytes.toString()
  }

  /** The first 4096 bytes, which cloud-init looks at by itself; a character each */
  get head(): string {
    return this.bytes.toString('latin1', 0, 4096)
  }

  /** The bytes as blocks of raw deflate, none of them the last (packed.ts): only what is the document's own is not packed. */
  packed(): Packed {
    const ours = this.parts.find((part) => part instanceof PreparedText && part.isOurs) as PreparedText | undefined
    const at = ours ? this.parts.indexOf(ours) : this.parts.length
    const blocks = (parts: typeof this.parts) =>
      parts.flatMap((part) => (part instanceof PreparedText ? [part.packed] : storedBlocks(part)))
    return { before: blocks(this.parts.slice(0, at)), shared: ours?.shared, after: blocks(this.parts.slice(at + 1)) }
  }
}
