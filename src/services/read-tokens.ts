import { AppError } from '../errors.ts'
import { findToken, listTokens } from '../store/admin-tokens.ts'
import type { Versioned } from './actor.ts'
import { type AdminToken, toAdminToken } from './admin-token.ts'
import type { Context } from './context.ts'

/** @throws AppError `not_found` */
export async function readToken({ db }: Context, idOrName: string): Promise<Versioned & { body: AdminToken }> {
  const row = await findToken(db, idOrName)
  if (!row) throw new AppError('not_found')
  return toAdminToken(row)
}

export async function readTokens(
  { db }: Context,
  page: { after?: string | undefined; limit: number },
): Promise<AdminToken[]> {
  return (await listTokens(db, page)).map((row) => toAdminToken(row).body)
}
