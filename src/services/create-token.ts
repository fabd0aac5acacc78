import { createHash } from 'node:crypto'
import { newId } from '../ids.ts'
import { insertToken } from '../store/admin-tokens.ts'
import { recordAudit } from '../store/audit.ts'
import { date } from '../store/time.ts'
import type { Actor, Versioned } from './actor.ts'
import { type AdminToken, expiryOf, type Scope, toAdminToken } from './admin-token.ts'
import type { Context } from './context.ts'

export type TokenInput = {
  name: string
  scope: Scope
  /** A span such as `30d`, or Unix seconds; without it the token does not end by itself. */
  expires?: string | number | undefined
}

/**
 * Makes an admin token. Only its SHA-256 is kept, so it can never be shown again.
 * @throws AppError `already_exists` if a live token has this name, `invalid` for an expiry that is none
 */
export async function createToken(
  context: Pick<Context, 'db' | 'now' | 'random'>,
  actor: Actor,
  { name, scope, expires }: TokenInput,
): Promise<Versioned & { body: AdminToken & { token: string } }> {
  const now = context.now()
  const token = `rc_${Buffer.from(context.random(32)).toString('base64url')}`
  const row = {
    id: newId('tok', now, context.random(12)),
    name,
    hash: createHash('sha256').update(token).digest(),
    scope,
    createdAt: date(now),
    expiresAt: expires === undefined ? null : date(expiryOf(expires, now)),
    deletedAt: null,
  }
  await context.db.transaction(async (tx) => {
    await insertToken(tx, row)
    await recordAudit(tx, now, actor, 'token.create', `token:${name}`, { id: row.id, scope })
  })
  const shown = toAdminToken(row)
  return { ...shown, body: { ...shown.body, token } }
}
