import { AppError } from '../errors.ts'
import { bootstrapName, mostBootstrapBytes } from '../k3s/bootstrap.ts'
import { readKine } from './guard.ts'
import type { Bootstrap } from './managed.ts'
import type { Observer } from './observer.ts'

/** Somebody holds the cluster's table, or a read of it took too long: that is its servers' doing, not Postgres'. */
export class TableHeld extends Error {
  override readonly name = 'TableHeld'
}

type Row = { deleted: number; size: number | null; value: Uint8Array | null }

/**
 * Reads a cluster's bootstrap row, as last committed, under the guard.
 * @returns `ready` without a value if that is larger than any that K3s writes
 * @throws AppError `state_conflict`, detail `datastore_tampered: …`, if the table is not what K3s makes; `datastore_unavailable`, cause TableHeld, if it is held
 */
export async function readBootstrap(observer: Observer, clusterId: string, serverToken: string): Promise<Bootstrap> {
  const read = await readKine<Row>(observer, clusterId, {
    columns: 'deleted int4, size int4, value bytea',
    text: (
      table,
    ) => `select deleted::int4, octet_length(value), case when octet_length(value) <= ${mostBootstrapBytes} then value end
      from only ${table} where name = '${bootstrapName(serverToken)}' order by id desc limit 1`,
  })
  if (read.kind === 'tampered') throw new AppError('state_conflict', { detail: `datastore_tampered: ${read.what}` })
  if (read.kind === 'late') throw new AppError('datastore_unavailable', { cause: new TableHeld(read.what) })
  const row = read.kind === 'rows' ? read.rows[0] : undefined
  const state = bootstrapState(row)
  return { state, value: state === 'ready' ? (row?.value ?? undefined) : undefined }
}

/** No row, or a deleted one, is a datastore without a cluster; an empty one is the lock of a first server (K3s pkg/cluster/storage.go). */
export function bootstrapState(row: { deleted: number; size: number | null } | undefined): Bootstrap['state'] {
  if (row?.deleted !== 0) return 'virgin'
  return row.size ? 'ready' : 'locked'
}
