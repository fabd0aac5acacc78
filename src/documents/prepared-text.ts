import { constants, deflateRawSync } from 'node:zlib'

/** Characters from which on a text is worth preparing: below, writing it anew is cheaper. */
export const worthPreparing = 512

/** A text that many documents have in common: encoded once, and packed once. */
export class PreparedText {
  readonly bytes: Buffer
  private deflated: Buffer | undefined

  constructor(text: string) {
    this.bytes = Buffer.from(text)
  }

  /** Blocks of raw deflate, none of them the last (packed.ts). */
  get packed(): Buffer {
    this.deflated ??= deflateRawSync(this.bytes, { level: 9, finishFlush: constants.Z_FULL_FLUSH })
    return this.deflated
  }
}

/** Texts prepared in one way; what was not asked for the longest goes first. */
export class PreparedTexts {
  private readonly kept = new Map<string, PreparedText>()
  private readonly write: (text: string) => string

  /** @param write what a document has in place of the text */
  constructor(write: (text: string) => string) {
    this.write = write
  }

  of(text: string): PreparedText {
    const prepared = this.kept.get(text) ?? new PreparedText(this.write(text))
    this.kept.delete(text)
    this.kept.set(text, prepared)
    if (this.kept.size > 32) this.kept.delete(this.kept.keys().next().value as string)
    return prepared
  }
}
