import { countManagedServers } from '../store/clusters.ts'
import type { Drizzle } from '../store/database.ts'
import { askManaged } from './ask-managed.ts'
import type { Context } from './context.ts'

type Deps = Pick<Context, 'managed'> & { db: Drizzle }

/**
 * Tries the managed datastore as its nodes will use it, and whether it has room for all servers of managed clusters.
 * @param newcomers servers to come beside those on the roll
 * @throws AppError `invalid` at `datastore.kind`, with plain words for what is wrong; `datastore_unavailable`
 */
export async function checkManaged({ db, managed }: Deps, newcomers: number): Promise<void> {
  // Where none is configured, check-cluster says so.
  if (!managed) return
  const servers = Math.max(1, (await countManagedServers(db)) + newcomers)
  await askManaged({ managed }, (datastore) => datastore.check(servers))
}
