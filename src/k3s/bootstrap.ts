import { createDecipheriv, createHash, pbkdf2 } from 'node:crypto'
import { promisify } from 'node:util'
import { caHash } from './ca-hash.ts'

const deriveKey = promisify(pbkdf2)

/** Bytes of a bootstrap value: K3s writes about 12,000; what is larger is not read. */
export const mostBootstrapBytes = 256 * 1_024

const prefix = '/bootstrap/'
// K3s pkg/cluster/encrypt.go: 8 random bytes in hex, PBKDF2-HMAC-SHA1, Go's default sizes of AES-256-GCM.
const salt = /^[0-9a-f]{1,64}$/
const iterations = 4_096
const [keyBytes, nonceBytes, tagBytes] = [32, 12, 16]

/**
 * What a cluster's bootstrap value gives away: its servers' CA file, and the hash of it that stands in `K10…` tokens. Or why it gives
 * nothing: not of this token, or not what K3s writes. Never anything of its content.
 */
export type OpenedBootstrap =
  | { caHash: string; serverCa: Buffer }
  | { trouble: 'too large' | 'malformed' | 'not of this token' | 'no server CA' }

/** No secret: a part of a token's hash. */
export type BootstrapName = `${typeof prefix}${string}`

/**
 * The key under which K3s keeps a cluster's CA keys (K3s pkg/cluster/storage.go).
 * @param serverToken bare, as K3s' token file holds it
 */
export function bootstrapName(serverToken: string): BootstrapName {
  return `${prefix}${createHash('sha256').update(serverToken).digest('hex').slice(0, 12)}`
}

/**
 * Opens a bootstrap value. Its key costs 2 to 3 ms, in a thread of libuv's: a server that starts opens one for each of its clusters. Everything but
 * the servers' CA is dropped at once, since it holds the cluster's private keys.
 * @param value of unknown origin: whoever has the datastore can write it
 */
export async function openBootstrap(value: Uint8Array, serverToken: string): Promise<OpenedBootstrap> {
  if (value.length > mostBootstrapBytes) return { trouble: 'too large' }
  const sealed = parse(Buffer.from(value).toString('latin1'))
  if (!sealed) return { trouble: 'malformed' }
  const plain = await decrypt(sealed, serverToken)
  if (!plain) return { trouble: 'not of this token' }
  const serverCa = serverCaOf(plain)
  const hash = serverCa && caHash(serverCa)
  return serverCa && hash ? { caHash: hash, serverCa } : { trouble: 'no server CA' }
}

type Sealed = { salt: string; bytes: Buffer }

function parse(text: string): Sealed | undefined {
  const colon = text.indexOf(':')
  const encoded = text.slice(colon + 1)
  if (colon < 0 || !salt.test(text.slice(0, colon)) || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return undefined
  const bytes = Buffer.from(encoded, 'base64')
  return bytes.length > nonceBytes + tagBytes ? { salt: text.slice(0, colon), bytes } : undefined
}

async function decrypt({ salt, bytes }: Sealed, serverToken: string): Promise<Buffer | undefined> {
  const key = await deriveKey(serverToken, salt, iterations, keyBytes, 'sha1')
  const end = bytes.length - tagBytes
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes })
    decipher.setAuthTag(bytes.subarray(end))
    return Buffer.concat([decipher.update(bytes.subarray(nonceBytes, end)), decipher.final()])
  } catch {
    return undefined
  }
}

/** Of `{"ServerCA": {"Timestamp": …, "Content": "<base64>"}, …}`. */
function serverCaOf(plain: Buffer): Buffer | undefined {
  try {
    const files = JSON.parse(plain.toString('utf8')) as { ServerCA?: { Content?: unknown } } | null
    const content = files?.ServerCA?.Content
    return typeof content === 'string' ? Buffer.from(content, 'base64') : undefined
  } catch {
    return undefined
  }
}
