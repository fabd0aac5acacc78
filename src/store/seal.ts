import { createCipheriv, createDecipheriv, createHash, createSecretKey, type KeyObject } from 'node:crypto'
import { pooledRandom } from '../random.ts'
import type { Vault } from './vault.ts'

// Layout: 0x01 ‖ key id (4) ‖ nonce (12) ‖ ciphertext ‖ tag (16). Associated data: layout, key id and place, so that a value
// moved to another row, or relabelled with another key, does not open.
const LAYOUT = 1
const ID = 4
const NONCE = 12
const TAG = 16
const HEAD = 1 + ID + NONCE

const random = pooledRandom()

/** A key that seals; `id` is 8 hex digits, derived from it. */
export type SealingKey = { id: string; key: KeyObject }

/** @param bytes 32, random */
export function sealingKey(bytes: Uint8Array): SealingKey {
  const id = createHash('sha256')
    .update('rollcall sealing key id\0')
    .update(bytes)
    .digest('hex')
    .slice(0, 2 * ID)
  return { id, key: createSecretKey(bytes) }
}

/**
 * A vault over these keys: the first one seals, all of them open.
 * @throws Error without any key
 */
export function openVault(keys: readonly SealingKey[]): Vault {
  const [newest] = keys
  if (!newest) throw new Error('there is no sealing key')
  const byId = new Map(keys.map((key) => [key.id, key]))
  return {
    seal: (place, plaintext) => seal(newest, place, plaintext),
    open: (place, sealed) => {
      const id = Buffer.from(sealed.subarray(1, 1 + ID)).toString('hex')
      const key = byId.get(id)
      if (!key || sealed[0] !== LAYOUT) throw new Error(`${place} is sealed under a key that is not here (${id})`)
      return open(key, place, sealed)
    },
  }
}

function seal({ id, key }: SealingKey, place: string, plaintext: Uint8Array | string): Buffer {
  const head = Buffer.alloc(HEAD)
  head[0] = LAYOUT
  head.write(id, 1, 'hex')
  random(NONCE).copy(head, 1 + ID)
  const cipher = createCipheriv('aes-256-gcm', key, head.subarray(1 + ID))
  cipher.setAAD(associated(head, place))
  const body = typeof plaintext === 'string' ? cipher.update(plaintext, 'utf8') : cipher.update(plaintext)
  cipher.final()
  return Buffer.concat([head, body, cipher.getAuthTag()])
}

function open({ key }: SealingKey, place: string, sealed: Uint8Array): Buffer {
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength)
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(1 + ID, HEAD), { authTagLength: TAG })
    decipher.setAAD(associated(bytes, place))
    decipher.setAuthTag(bytes.subarray(bytes.length - TAG))
    const plaintext = decipher.update(bytes.subarray(HEAD, bytes.length - TAG))
    decipher.final()
    return plaintext
  } catch (error) {
    throw new Error(`${place} was not sealed for this place under this key`, { cause: error })
  }
}

const associated = (head: Uint8Array, place: string) => Buffer.concat([head.subarray(0, 1 + ID), Buffer.from(place)])
