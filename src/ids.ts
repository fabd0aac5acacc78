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
  let bits = BigInt(now >>> 0)
  for (const byte of random.subarray(0, 12)) bits = (bits << 8n) | BigInt(byte)
  let text = ''
  for (let i = 0; i < 26; i++) {
    text = alphabet[Number(bits & 31n)] + text
    bits >>= 5n
  }
  return `${prefix}_${text}`
}
