import type { Context, MiddlewareHandler } from 'hono'
import { AppError } from '../../errors.ts'
import type { Scope } from '../../services/admin-token.ts'
import { type Admin, type AdminTokens, demandScope } from '../../services/check-admin-token.ts'

/** Whoever holds the request's bearer token. @throws AppError `token_invalid` or `forbidden` */
export async function authenticate(c: Context, tokens: AdminTokens, scope: Scope): Promise<Admin> {
  const token = /^Bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '')?.[1]
  if (token === undefined) throw new AppError('token_invalid')
  const admin = await tokens.check(token)
  demandScope(admin, scope)
  return admin
}

/** Middleware for a route outside of the admin API, e.g. `/metrics`. */
export function requireToken(tokens: AdminTokens, scope: Scope): MiddlewareHandler {
  return async (c, next) => {
    await authenticate(c, tokens, scope)
    await next()
  }
}
