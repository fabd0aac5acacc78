import { AppError } from '../errors.ts'

type Random = (bytes: number) => Uint8Array

const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789'
// The largest multiple of 36 in a byte: anything above it would make the first letters likelier.
const fair = 252

/**
 * A cluster's server token. 64 hex digits, since K3s degrades a server token that looks like a bootstrap token
 * (`id.secret`), starts with `K10` or contains `::` (k3s issues 7313 and 12982).
 * @param random fresh random bytes
 */
export function serverToken(random: Random): string {
  return Buffer.from(random(32)).toString('hex')
}

/** The two halves of a K3s bootstrap token, as `k3s token create` and the Secret want them. */
export type BootstrapToken = { id: string; secret: string; text: string }

/**
 * A K3s bootstrap token, which lets one agent join; 4 × 10^24 secrets, no letter likelier than another.
 * @param caHash SHA-256 of the cluster's CA, 64 hex digits
 * @param random fresh random bytes
 * @returns `text` = `K10<caHash>::<id>.<secret>`, what the agent's token file holds
 */
export function bootstrapToken(caHash: string, random: Random): BootstrapToken {
  if (!/^[0-9a-f]{64}$/.test(caHash))
    throw new AppError('internal', { cause: new Error('CA hash is not 64 hex digits') })
  const letters = fairLetters(22, random)
  const id = letters.slice(0, 6)
  const secret = letters.slice(6)
  return { id, secret, text: `K10${caHash}::${id}.${secret}` }
}

/**
 * Reads a full bootstrap token back.
 * @returns undefined if the text is none
 */
export function parseBootstrapToken(text: string): (BootstrapToken & { caHash: string }) | undefined {
  const found = /^K10([0-9a-f]{64})::([a-z0-9]{6})\.([a-z0-9]{16})$/.exec(text)
  if (!found) return undefined
  const [, caHash, id, secret] = found as unknown as [string, string, string, string]
  return { caHash, id, secret, text }
}

function fairLetters(count: number, random: Random): string {
  let letters = ''
  while (letters.length < count) {
    for (const byte of random(32)) if (byte < fair && letters.length < count) letters += alphabet[byte % 36]
  }
  return letters
}
