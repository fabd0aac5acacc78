import { AppError } from '../errors.ts'
import type { AdminTokenRow } from '../store/admin-tokens.ts'
import { seconds, secondsOrNull } from '../store/time.ts'
import type { Versioned } from './actor.ts'

/** What a token may do; each includes those before it. */
export const scopes = ['read', 'write', 'admin'] as const
export type Scope = (typeof scopes)[number]

/** Never the token itself, nor its hash. */
export type AdminToken = { id: string; name: string; scope: Scope; created_at: number; expires_at: number | null }

export function toAdminToken(row: AdminTokenRow): Versioned & { body: AdminToken } {
  const { id, name } = row
  const times = { created_at: seconds(row.createdAt), expires_at: secondsOrNull(row.expiresAt) }
  return { id, version: 1, body: { id, name, scope: row.scope as Scope, ...times } }
}

const units: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 }
const longest = 100 * 365 * 86_400

/**
 * When a token ends.
 * @param expires a span such as `30d` (s, m, h, d, w), or Unix seconds
 * @returns Unix seconds
 * @throws AppError `invalid` for another form, a moment that has passed, or more than a hundred years
 */
export function expiryOf(expires: string | number, now: number): number {
  const [, count, unit = ''] = /^(\d{1,10})([smhdw])$/.exec(String(expires)) ?? []
  const at = typeof expires === 'number' ? expires : now + Number(count) * (units[unit] ?? Number.NaN)
  if (Number.isInteger(at) && at > now && at <= now + longest) return at
  const reason = 'must be a span such as 30d (s, m, h, d, w) or Unix seconds to come'
  throw new AppError('invalid', { detail: `expires ${reason}`, errors: [{ path: 'expires', reason }] })
}
