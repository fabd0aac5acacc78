import type { Bootstrap } from '../datastore/managed.ts'
import { openBootstrap } from '../k3s/bootstrap.ts'
import { noteBootstrap } from '../store/observations.ts'
import { place } from './cluster-view.ts'
import type { Context } from './context.ts'
import { learnCaHash } from './learn-ca-hash.ts'
import type { Turn } from './observe-clusters.ts'

/**
 * Takes in what a cluster's bootstrap row shows: virgin, locked or ready, and when it is new, the CA hash that is in it.
 * So neither a lost report nor a lie of the first server decides when a cluster is up, and with which CA.
 */
export async function learnBootstrap(
  context: Context,
  { cluster, known }: Pick<Turn, 'cluster' | 'known'>,
  { state, value }: Bootstrap,
): Promise<void> {
  if (cluster.bootstrap !== state) await noteBootstrap(context.sql, cluster.id, state)
  if (state !== 'ready') known.bootstrapTrouble = null
  if (value === undefined) return
  const token = context.vault.open(place.serverToken(cluster.id), cluster.server_token_sealed).toString('utf8')
  const opened = await openBootstrap(value, token)
  known.bootstrapTrouble = 'trouble' in opened ? `its bootstrap row cannot be read: ${opened.trouble}` : null
  if ('trouble' in opened) return
  await learnCaHash(context, { clusterId: cluster.id, caHash: opened.caHash, from: 'datastore' })
}
