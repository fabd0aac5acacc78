import { createHash, createPublicKey, type KeyObject } from 'node:crypto'

/**
 * How curl's `--pinnedpubkey` names a key.
 * @param key a key or certificate, PEM
 * @returns `sha256//` and the base64 of the SHA-256 of its SubjectPublicKeyInfo
 */
export function pinOf(key: string | KeyObject): string {
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' })
  return `sha256//${createHash('sha256').update(spki).digest('base64')}`
}

/** `sha256//current;sha256//standby`: devices accept either, so that the key can be changed without visiting them. */
export const pinList = (current: string, standby: string) => `${pinOf(current)};${pinOf(standby)}`
