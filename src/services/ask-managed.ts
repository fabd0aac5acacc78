import type { ManagedDatastore } from '../datastore/managed.ts'
import { AppError } from '../errors.ts'
import type { Context } from './context.ts'

/**
 * Asks the clusters' PostgreSQL.
 * @throws AppError `datastore_unavailable` if it refuses, or none is configured; a refusal of its own as it is
 */
export async function askManaged<T>(
  { managed }: Pick<Context, 'managed'>,
  question: (managed: ManagedDatastore) => Promise<T>,
): Promise<T> {
  const away = (cause: unknown) =>
    new AppError('datastore_unavailable', { detail: "the cluster's datastore does not answer", retryAfter: 15, cause })
  if (!managed) throw away(new Error('no managed datastore is configured'))
  try {
    return await question(managed)
  } catch (error) {
    throw error instanceof AppError ? error : away(error)
  }
}

/** The clusters' PostgreSQL, for who wants to hear what it says itself. @throws AppError `state_conflict` if none is configured */
export function configured({ managed }: Pick<Context, 'managed'>): ManagedDatastore {
  if (managed) return managed
  throw new AppError('state_conflict', { detail: 'no managed datastore is configured: set ROLLCALL_DATASTORE_ADDRESS' })
}
