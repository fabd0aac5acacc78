import { createHash } from 'node:crypto'
import type { Context } from 'hono'
import { AppError } from '../../errors.ts'
import { type Precondition, unconditional, type Versioned } from '../../services/actor.ts'

/** Strong, and never the same again for another thing of the same name. */
export const etag = ({ id, version }: Versioned): string => `"${id.replace(/[^A-Za-z0-9_.+-]/g, '-')}.${version}"`

/** For what has no version of its own. */
export function etagOf(body: unknown): string {
  return `"${createHash('sha256').update(JSON.stringify(body)).digest('base64url').slice(0, 22)}"`
}

/**
 * The request's `If-Match` as a check for services. RFC 9110, 13.1.1: `*` matches what exists, else one tag of the list must be
 * the same by strong comparison, so a weak one never matches.
 */
export function ifMatch(c: Context): Precondition {
  const header = c.req.header('if-match')
  if (header === undefined || header.trim() === '*') return unconditional
  const tags = new Set(header.match(/(?:W\/)?"[^"]*"/g))
  return (current) => {
    if (!tags.has(etag(current))) throw new AppError('precondition_failed')
  }
}
