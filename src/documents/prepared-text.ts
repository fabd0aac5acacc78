import { hash } from 'node:crypto'
import { constants, deflateRawSync } from 'node:zlib'

/** Characters from which on a text is worth preparing: below, writing it anew is cheaper. */
export const worthPreparing = 512

/** A part of kept documents that is kept once for all of them, by its hash. */
export type SharedPart = {
  /** SHA-256 of what is packed, hex */
  hash: string
  /** Blocks of raw deflate, base64 */
  packed: string
}

/** A text that many documents have in common: encoded once, and packed once. */
export class PreparedText {
  readonly bytes: Buffer
  /** A file of ours: no secret, and the same for everybody. */
  readonly isOurs: boolean
  private deflated: Buffer | undefined
  private part: SharedPart | undefined

  constructor(text: string, isOurs = false) {
    this.bytes = Buffer.from(text)
    this.isOurs = isOurs
  }

  /** Blocks of raw deflate, none of them the last (packed.ts). */
  get packed(): Buffer {
    this.deflated ??= deflateRawSync(this.bytes, { level: 9, finishFlush: constants.Z_FULL_FLUSH })
    return this.deflated
  }

  /** What it is kept as where it is kept once. */
  get shared(): SharedPart {
    this.part ??= { hash: hash('sha256', this.packed, 'hex'), packed: this.packed.toString('base64') }
    return this.part
  }
}

/** Texts prepared in one way; what was not asked for the longest goes first. */
export class PreparedTexts {
  private readonly kept = new Map<string, PreparedText>()
  private readonly write: (text: string) => string
  private readonly isOurs: (text: string) => boolean

  /** @param write what a document has in place of the text */
  constructor(write: (text: string) => string, isOurs: (text: string) => boolean) {
    this.write = write
    this.isOurs = isOurs
  }

  of(text: string): PreparedText {
    const prepared = this.kept.get(text) ?? new PreparedText(this.write(text), this.isOurs(text))
    this.kept.delete(text)
    this.kept.set(text, prepared)
    if (this.kept.size > 32) this.kept.delete(this.kept.keys().next().value as string)
    return prepared
  }
}
