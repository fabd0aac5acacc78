import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { AppError } from '../errors.ts'
import { recordAudit } from '../store/audit.ts'
import { findCluster } from '../store/clusters.ts'
import type { Actor } from './actor.ts'
import { configured } from './ask-managed.ts'
import { writeBackup } from './backup-format.ts'
import { place } from './cluster-view.ts'
import type { Context } from './context.ts'

type Deps = Pick<Context, 'db' | 'vault' | 'managed' | 'now'>

/**
 * Copies all that a managed cluster keeps, as of one moment, while it runs. What comes out opens the cluster: its rows hold every Secret of it, and
 * beside its server token the keys of its CA as well.
 * @throws AppError `not_found`, `state_conflict` for a cluster that is not managed, or whose table is not K3s', what Postgres and the sink throw
 */
export async function backupCluster(context: Deps, actor: Actor, name: string, sink: Writable): Promise<void> {
  const row = await findCluster(context.db, name)
  if (!row) throw new AppError('not_found')
  if (row.datastoreKind !== 'managed') {
    throw new AppError('state_conflict', {
      detail: `its datastore is of kind ${row.datastoreKind}: back it up where it is`,
    })
  }
  const header = {
    rollcall: 'cluster backup',
    format: 1,
    cluster: row.name,
    version: row.k3sVersion,
    ca_hash: row.caHash,
    server_token: context.vault.open(place.serverToken(row.id), row.serverTokenSealed).toString(),
    taken_at: context.now(),
  } as const
  await configured(context).copyOut(row.id, (rows) => pipeline(writeBackup(header, rows), createGzip(), sink))
  await recordAudit(context.db, context.now(), actor, 'cluster.backup', `cluster:${name}`, { id: row.id })
}
