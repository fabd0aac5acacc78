/**
 * Whether a failed statement may be the fault of one of its rows: a broken constraint, a bad value, a deadlock.
 * Anything else (no connection, no disk) would fail each row alone as well.
 */
export function isRowError(error: unknown): boolean {
  const code = sqlState(error)
  return code !== undefined && (/^2[23]/.test(code) || code === '40P01' || code === '40001')
}

/** SQLSTATE and constraint of a Postgres error, through drizzle's wrapper where there is one. */
export function sqlState(error: unknown): string | undefined {
  const inner = postgresError(error)
  return typeof inner?.code === 'string' ? inner.code : undefined
}

/** The name of the constraint that a unique violation (23505) broke. */
export function brokenConstraint(error: unknown): string | undefined {
  const inner = postgresError(error)
  return inner?.code === '23505' && typeof inner.constraint_name === 'string' ? inner.constraint_name : undefined
}

function postgresError(error: unknown): { code?: unknown; constraint_name?: unknown } | undefined {
  if (!(error instanceof Error)) return undefined
  if (error.name === 'PostgresError') return error as never
  return postgresError(error.cause)
}
