import type { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { AppError } from '../errors.ts'
import { loginPassword } from '../k3s/datastore-names.ts'
import { recordAudit } from '../store/audit.ts'
import { type ClusterRow, findCluster, updateCluster } from '../store/clusters.ts'
import { virgin } from '../store/empty-cluster.ts'
import { listLiveServers } from '../store/enrollments.ts'
import { noteFenced, noteRestored } from '../store/gate-logins.ts'
import { selectClusterLogins } from '../store/logins.ts'
import { date } from '../store/time.ts'
import type { Actor } from './actor.ts'
import { configured } from './ask-managed.ts'
import { type BackupHeader, readBackup } from './backup-format.ts'
import { place } from './cluster-view.ts'
import type { Context } from './context.ts'

type Deps = Pick<Context, 'db' | 'sql' | 'vault' | 'keys' | 'managed' | 'now'>

export type Restore = {
  name: string
  /** Drop what the cluster keeps now, whatever it is */
  replace: boolean
}

/**
 * Fills a managed cluster's datastore from a backup, of itself or of another cluster: all of it or nothing. Its servers may not write meanwhile; those
 * that still hold the right server token go on afterwards.
 * @returns what the backup says of itself
 * @throws AppError `not_found`, `state_conflict`, `invalid` for a file that is no backup, or not all of one; what Postgres and the file throw
 */
export async function restoreCluster(
  context: Deps,
  actor: Actor,
  { name, replace }: Restore,
  file: Readable,
): Promise<BackupHeader> {
  const gunzip = createGunzip()
  file.on('error', (error) => gunzip.destroy(error)).pipe(gunzip)
  const { header, rows } = await readBackup(gunzip)
  const row = await findCluster(context.db, name)
  if (!row) throw new AppError('not_found')
  await refuseMisfit(context, row, header)
  const fenced = await fenceAll(context, row.id)
  try {
    await configured(context).copyIn(row.id, rows, replace)
    await note(context, actor, row, header)
  } finally {
    await giveBack(context, row.id, fenced)
  }
  return header
}

async function refuseMisfit(context: Deps, row: ClusterRow, header: BackupHeader): Promise<void> {
  const conflict = (detail: string) => new AppError('state_conflict', { detail })
  if (row.datastoreKind !== 'managed') throw conflict(`its datastore is of kind ${row.datastoreKind}`)
  if (tokenOf(context, row) === header.server_token) return
  if ((await listLiveServers(context.db, row.id)).length > 0) {
    throw conflict(
      'the backup has another server token than the servers that are enrolled: retire them first, or reset the cluster',
    )
  }
}

const tokenOf = ({ vault }: Deps, row: ClusterRow) =>
  vault.open(place.serverToken(row.id), row.serverTokenSealed).toString()

async function fenceAll(context: Deps, clusterId: string): Promise<string[]> {
  const logins = await selectClusterLogins(context.sql, clusterId)
  const open = logins.filter(({ fenced }) => !fenced).map(({ enrollment_id }) => enrollment_id)
  for (const id of open) {
    await configured(context).fenceLogin(id)
    await noteFenced(context.sql, [id], context.now())
  }
  return open
}

async function giveBack(context: Deps, clusterId: string, fenced: readonly string[]): Promise<void> {
  if (fenced.length === 0) return
  for (const id of await noteRestored(context.sql, fenced)) {
    const password = loginPassword(context.keys.nodePassword, id)
    await configured(context).makeLogin(clusterId, id, password)
  }
}

// A cluster of another CA or token is learnt anew, from its bootstrap row.
async function note(context: Deps, actor: Actor, row: ClusterRow, header: BackupHeader): Promise<void> {
  const now = context.now()
  const other = tokenOf(context, row) !== header.server_token || row.caHash !== header.ca_hash
  const set = {
    ...(other ? virgin(date(now)) : { bootstrap: null }),
    serverTokenSealed: context.vault.seal(place.serverToken(row.id), header.server_token),
    version: row.version + 1,
    updatedAt: date(now),
  }
  await context.db.transaction(async (tx) => {
    await updateCluster(tx, row.id, set)
    const detail = { from: header.cluster, taken_at: header.taken_at, k3s: header.version }
    await recordAudit(tx, now, actor, 'cluster.restore', `cluster:${row.name}`, detail)
  })
}
