import type { Vault } from '../../src/store/vault.ts'

/** Seals nothing, but keeps the promise that a value opens only in its own place. */
export const fakeVault: Vault = {
  seal: (place, plaintext) => Buffer.concat([Buffer.from(`${place}\0`), Buffer.from(plaintext)]),
  open: (place, sealed) => {
    const bytes = Buffer.from(sealed)
    const end = bytes.indexOf(0)
    if (bytes.subarray(0, end).toString() !== place) throw new Error(`sealed for another place than ${place}`)
    return bytes.subarray(end + 1)
  },
}
