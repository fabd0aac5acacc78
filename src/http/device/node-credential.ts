import type { Context } from 'hono'
import { AppError } from '../../errors.ts'
import { linesOf } from '../raw-headers.ts'

const bearer = /^Bearer ([A-Za-z0-9_-]{1,512})$/i

/** The node credential of a request. @throws AppError `credential_invalid` */
export function nodeCredential(c: Context): string {
  const credential = bearer.exec(c.req.header('authorization') ?? '')?.[1]
  if (!credential) throw new AppError('credential_invalid')
  return credential
}

/** The same of a request that nothing has looked at yet; undefined for what is none, or not the only one. */
export function credentialIn(rawHeaders: readonly string[]): string | undefined {
  const given = linesOf(rawHeaders, 'authorization')
  return given.length === 1 ? bearer.exec(given[0] as string)?.[1] : undefined
}
