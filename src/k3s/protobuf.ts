/** What a field holds: a number, or bytes that may be a text or another message. Fixed-width fields are passed over. */
export type Value = number | Uint8Array

/**
 * Walks the fields of a protobuf message (protobuf.dev/programming-guides/encoding) without taking any of it apart that is not asked
 * for. Three messages of Kubernetes are all that is ever read, from bytes that a hostile server may have written.
 * @returns false if the bytes are no message; what was visited until then means nothing
 */
export function walk(message: Uint8Array, visit: (field: number, value: Value) => void): boolean {
  const reader = new Reader(message)
  while (!reader.ended) {
    const key = reader.varint()
    if (key === undefined || key > mostKey) return false
    const value = reader.value(key & 7)
    if (value === undefined) return false
    if (value !== passed && key >= 8) visit(key >>> 3, value)
  }
  return true
}

/** Reads a message for some of its fields: the last one counts where one is repeated that should not be. */
export function pick(message: Uint8Array, fields: readonly number[]): (Value | undefined)[] | undefined {
  const found: (Value | undefined)[] = fields.map(() => undefined)
  const whole = walk(message, (field, value) => {
    const at = fields.indexOf(field)
    if (at >= 0) found[at] = value
  })
  return whole ? found : undefined
}

export const asText = (value: Value | undefined): string | undefined =>
  value instanceof Uint8Array
    ? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf8')
    : undefined

export const asMessage = (value: Value | undefined): Uint8Array | undefined =>
  value instanceof Uint8Array ? value : undefined

export const asNumber = (value: Value | undefined): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) ? value : undefined

const mostKey = 2 ** 32
const passed = Symbol('passed over')

class Reader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get ended(): boolean {
    return this.#at >= this.#bytes.length
  }

  /** At most 10 bytes; what is beyond 2^53 loses its lowest bits, and nothing that is read here goes so far. */
  varint(): number | undefined {
    let number = 0
    for (let n = 0; n < 10; n++) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) return undefined
      number += (byte & 0x7f) * 2 ** (7 * n)
      if (byte < 0x80) return number
    }
    return undefined
  }

  value(wire: number): Value | typeof passed | undefined {
    switch (wire) {
      case 0:
        return this.varint()
      case 1:
        return this.#skip(8)
      case 2:
        return this.#slice()
      case 5:
        return this.#skip(4)
      default:
        return undefined
    }
  }

  #slice(): Uint8Array | undefined {
    const length = this.varint()
    const start = this.#at
    if (length === undefined || length > this.#bytes.length - start) return undefined
    this.#at += length
    return this.#bytes.subarray(start, this.#at)
  }

  #skip(length: number): typeof passed | undefined {
    this.#at += length
    return this.#at <= this.#bytes.length ? passed : undefined
  }
}
