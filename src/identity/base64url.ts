/**
 * Strict base64url: no padding, no white space, no other alphabet, and no set bits after the last byte, so that each byte
 * string has exactly one spelling and a signed text cannot be respelled (RFC 7515 §2, RFC 4648 §3.5).
 * @returns undefined for anything else; the empty text is the empty string of bytes
 */
export function decodeBase64url(text: string): Buffer | undefined {
  // Node skips or stops at what it does not know, so only spelling the bytes again tells.
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}
