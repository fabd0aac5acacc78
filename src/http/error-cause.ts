import { HTTPException } from 'hono/http-exception'
import { AppError, type Code } from '../errors.ts'

const byHttpStatus: Record<number, Code> = {
  400: 'request_invalid',
  401: 'token_invalid',
  403: 'forbidden',
  404: 'not_found',
  405: 'method_not_allowed',
  413: 'body_too_large',
  415: 'media_type',
}

// postgres.js' own codes.
const gone = new Set(['CONNECTION_CLOSED', 'CONNECTION_ENDED', 'CONNECTION_DESTROYED', 'CONNECT_TIMEOUT'])
// What sockets and name lookups say.
const unreachable = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
])

// SQLSTATE: connection exceptions, out of resources (disk full, too many connections), shutting down or starting up,
// and read-only: the old primary after a failover.
const away = /^(?:08\w{3}|53\w{3}|57P0[1-5]|58\w{3}|25006|3D000|28\w{3})$/
// Deadlock, serialization failure, lock not available, statement timeout: the same request may pass a moment later.
const contended = new Set(['40P01', '40001', '55P03', '57014'])
// A byte or an escape that Postgres' text cannot hold: NUL.
const unstorable = new Set(['22021', '22P05'])

/** The refusal behind anything that was thrown; what nobody foresaw is `internal`, its cause kept for the log. */
export function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown
  if (thrown instanceof HTTPException) return new AppError(byHttpStatus[thrown.status] ?? 'internal', { cause: thrown })
  const cause = rootCause(thrown)
  const code = codeOf(cause)
  if (code === '23505') return new AppError('already_exists', { cause })
  if (contended.has(code)) return new AppError('busy', { cause, retryAfter: 1 })
  if (unstorable.has(code)) return new AppError('invalid', { cause, detail: 'text may not hold NUL characters' })
  if (away.test(code) || gone.has(code) || isSocketFailure(cause)) {
    return new AppError('datastore_unavailable', { cause })
  }
  return new AppError('internal', { cause })
}

/** What the log may know of a cause: never a query's parameters, which drizzle puts into its message. */
export function describeCause(cause: unknown): Record<string, unknown> {
  if (!(cause instanceof Error)) return { type: typeof cause }
  const root = rootCause(cause) as Error & Record<string, unknown>
  const code = codeOf(root)
  const { constraint_name: constraint, table_name: table, routine } = root
  const frames = root.stack?.split('\n').filter((line) => line.startsWith('    at '))
  // Class 22 quotes the value it could not read.
  const message = code.startsWith('22') ? undefined : root.message
  return { type: root.name, code, message, constraint, table, routine, stack: frames?.join('\n') }
}

function rootCause(thrown: unknown): unknown {
  let error = thrown
  for (let depth = 0; depth < 8; depth++) {
    if (!(error instanceof Error) || error.cause === undefined) return error
    error = error.cause
  }
  return error
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : ''
}

/** Of Postgres' socket alone: postgres.js 3.4.9 notes the query on whatever it fails with. A client's socket fails with the same codes. */
function isSocketFailure(error: unknown): boolean {
  if (!(error instanceof Error) || !('query' in error)) return false
  return unreachable.has(codeOf(error)) || (error as NodeJS.ErrnoException).syscall === 'connect'
}
