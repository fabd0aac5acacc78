import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { type PublicJwk, thumbprintOf } from './jwk.ts'

/**
 * Makes a key out of its JWK. Costs tens of µs, so it comes after the nonce.
 * @returns undefined if it is no key after all, e.g. a point off its curve: such a claim has no true signature
 */
export function importKey(jwk: PublicJwk): KeyObject | undefined {
  try {
    return createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
  } catch {
    return undefined
  }
}

/**
 * Keys that were imported lately, so that each is imported once. Meant for pinned keys: what strangers bring goes through
 * `importKey`, or they could flush it.
 */
export class KeyCache {
  readonly #keys = new Map<string, KeyObject>()
  readonly #capacity: number

  /** @param capacity keys kept; one takes about 4 KiB, and most devices show theirs twice: claim and redeem */
  constructor(capacity = 1_024) {
    this.#capacity = capacity
  }

  /** The key of a JWK; named by its own thumbprint, so that nobody can store a key under another's name. */
  get(jwk: PublicJwk): KeyObject | undefined {
    const name = thumbprintOf(jwk)
    const key = this.#keys.get(name) ?? importKey(jwk)
    if (!key) return undefined
    // A Map keeps the order of insertion: the first is the one that was not asked for the longest.
    this.#keys.delete(name)
    this.#keys.set(name, key)
    if (this.#keys.size > this.#capacity) this.#keys.delete(this.#keys.keys().next().value as string)
    return key
  }

  get size(): number {
    return this.#keys.size
  }
}
