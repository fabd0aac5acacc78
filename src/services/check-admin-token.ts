import { createHash } from 'node:crypto'
import { AppError } from '../errors.ts'
import { findTokenByHash } from '../store/admin-tokens.ts'
import { seconds } from '../store/time.ts'
import { type Scope, scopes } from './admin-token.ts'
import type { Context } from './context.ts'

/** Who holds the token. */
export type Admin = { tokenId: string; name: string; scope: Scope }

/** Checks admin tokens; what is known to be good is remembered for `remember` seconds. */
export type AdminTokens = {
  /** @throws AppError `token_invalid` */
  check: (token: string) => Promise<Admin>
  /** Forgets what it knows: a token that ended here ends at once, on other replicas within `remember` seconds. */
  forget: () => void
}

const remember = 3
const most = 1_000
const form = /^rc_[A-Za-z0-9_-]{43}$/

type Known = Admin & { until: number; expires: number }

export function adminTokens(context: Pick<Context, 'db' | 'now'>): AdminTokens {
  let known = new Map<string, Known>()

  const check = async (token: string): Promise<Admin> => {
    if (!form.test(token)) throw new AppError('token_invalid')
    const hash = createHash('sha256').update(token).digest()
    const name = hash.toString('base64')
    const now = context.now()
    // A lookup that began before `forget` may have read what is ended now: it writes into a map that nobody asks any more.
    const kept = known
    let admin = kept.get(name)
    if (!admin || admin.until <= now) {
      admin = await lookUp(context, hash, now)
      if (kept.size >= most) kept.clear()
      kept.set(name, admin)
    }
    if (admin.expires <= now) throw new AppError('token_invalid')
    return admin
  }
  const forget = () => {
    known = new Map()
  }
  return { check, forget }
}

/** @throws AppError `forbidden` if the token's scope is below `scope` */
export function demandScope(admin: Admin, scope: Scope): void {
  if (scopes.indexOf(admin.scope) < scopes.indexOf(scope)) {
    throw new AppError('forbidden', { detail: `this needs a token of scope ${scope}` })
  }
}

async function lookUp({ db }: Pick<Context, 'db'>, hash: Uint8Array, now: number): Promise<Known> {
  const row = await findTokenByHash(db, hash)
  if (!row) throw new AppError('token_invalid')
  const expires = row.expiresAt ? seconds(row.expiresAt) : Number.POSITIVE_INFINITY
  return { tokenId: row.id, name: row.name, scope: row.scope as Scope, until: now + remember, expires }
}
