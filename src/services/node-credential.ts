import { createHash } from 'node:crypto'
import { AppError } from '../errors.ts'
import { findNode, type NodeHolder } from '../store/node-credentials.ts'
import type { Context } from './context.ts'

export type { NodeHolder }

/** Checks node credentials; what is known to be good is remembered for `remember` seconds. */
export type NodeCredentials = {
  /** @throws AppError `credential_invalid` */
  check: (credential: string) => Promise<NodeHolder>
}

/** Seconds that a revoked credential may still tell something; it is given nothing any more at once (`takeTasks`). */
const remember = 3
const most = 10_000

// 32 random bytes in base64url; nothing else is worth a query.
const form = /^[A-Za-z0-9_-]{43}$/

/**
 * What a node credential is stored and looked up by.
 * @returns SHA-256, hex
 * @throws AppError `credential_invalid` for what cannot be one
 */
export function credentialHash(credential: string): string {
  if (!form.test(credential)) throw new AppError('credential_invalid')
  return createHash('sha256').update(credential).digest('hex')
}

export function nodeCredentials({ sql, now }: Pick<Context, 'sql' | 'now'>): NodeCredentials {
  const known = new Map<string, { holder: NodeHolder; until: number }>()
  return {
    check: async (credential) => {
      const hash = credentialHash(credential)
      const found = known.get(hash)
      if (found && found.until > now()) return found.holder
      const holder = await findNode(sql, hash)
      if (!holder) {
        known.delete(hash)
        throw new AppError('credential_invalid')
      }
      if (known.size >= most) known.clear()
      known.set(hash, { holder, until: now() + remember })
      return holder
    },
  }
}
