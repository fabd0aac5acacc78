/** The kinds of things that have an id, and its prefix. PROTOCOL.md, first paragraph. */
export type IdPrefix = 'dev' | 'clu' | 'prf' | 'enr' | 'tok' | 'tsk' | 'evt'

// Crockford's alphabet: no look-alikes when somebody reads an id aloud, and ASCII order is numeric order.
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

/**
 * A new id, e.g. `dev_06e9k2m4x0…`: 4 bytes of time, so that new rows land at the end of their index, then 12 random ones.
 * @param now Unix seconds
 * @param random 12 fresh random bytes
 * @returns prefix, `_` and 26 characters of Crockford's base 32
 */
export function newId<P extends IdPrefix>(prefix: P, now: number, random: Uint8Array): `${P}_${string}` {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt32BE(now >>> 0)
  bytes.set(random.subarray(0, 12), 4)
  // 128 bits in 26 digits of 5: the first digit holds 3 of them.
  let text = ''
  let held = 2
  let bits = 0
  for (const byte of bytes) {
    bits = (bits << 8) | byte
    for (held += 8; held >= 5; held -= 5) text += alphabet[(bits >> (held - 5)) & 31]
    bits &= 31
  }
  return `${prefix}_${text}`
}

/**
 * Ids for many rows that are made at once and have a number, e.g. the lines of a file: they grow with the numbers, so that a list has the
 * rows in their order and each index grows at its end.
 * @param random 12 fresh random bytes, of which 61 bits are used
 * @returns makes the id of a number below 2^35
 */
export function numberedIds<P extends IdPrefix>(
  prefix: P,
  now: number,
  random: Uint8Array,
): (number: number) => `${P}_${string}` {
  const stem = newId(prefix, now, random).slice(0, -7)
  return (number) => {
    let digits = ''
    for (let left = number, i = 0; i < 7; i++) {
      digits = alphabet[left % 32] + digits
      left = Math.floor(left / 32)
    }
    return `${stem}${digits}` as `${P}_${string}`
  }
}
