import { AppError } from '../errors.ts'
import { isDispute } from '../k3s/ca-hash-verdict.ts'
import { serverToken } from '../k3s/tokens.ts'
import type { ClusterRow } from '../store/clusters.ts'
import { orphanAgents } from '../store/empty-cluster.ts'
import { hasJoinedServer } from '../store/enrollments.ts'
import { date } from '../store/time.ts'
import type { Actor } from './actor.ts'
import { place, type ShownCluster } from './cluster-view.ts'
import { type ClusterChange, type ClusterCommand, type ClusterRequest, commandCluster } from './command-cluster.ts'
import type { Context } from './context.ts'
import { refuse } from './invalid.ts'

/** What an admin rotated by K3s' own means (docs/clusters.md). */
export type Rotation = {
  /** 64 hex digits: the servers' new token */
  server_token?: string | undefined
  /** 64 hex digits: of the new CA */
  ca_hash?: string | undefined
}

/**
 * Takes the admin's word that server token and CA were rotated: ends `compromised`, and `stuck` over two CA hashes; a cluster that is up
 * learns what is new. A server token that a revoked server knew is never given out again: if no new one is said, one is made up, which
 * is right only where no server is left.
 * @throws AppError `invalid` where the true CA hash must be said, `state_conflict` for a cluster that has not come up
 */
export const acceptRotation = (
  context: Context,
  actor: Actor,
  request: ClusterRequest,
  rotation: Rotation,
): Promise<ShownCluster> =>
  commandCluster(context, actor, { ...request, verb: 'rotated' }, (command) => rotate(command, rotation))

async function rotate(command: ClusterCommand, rotation: Rotation): Promise<ClusterChange | undefined> {
  const { context, tx, row } = command
  const disputed = row.state === 'stuck' && isDispute(row.stuckReason)
  if (row.state !== 'compromised' && row.state !== 'up' && !disputed)
    throw new AppError('state_conflict', { detail: `a cluster that is ${row.state} has nothing to rotate` })
  if (row.state === 'up' && rotation.server_token === undefined && rotation.ca_hash === undefined) return undefined
  refuse(disputed && rotation.ca_hash === undefined ? [{ path: 'ca_hash', reason: 'say which one is true' }] : [])
  const token = newToken(command, rotation)
  const ca = newCa(row, rotation)
  const isNew = 'caHash' in ca && ca.caHash !== row.caHash
  if (isNew) await orphanAgents(tx, row.id, 'not joined')
  const caHash = 'caHash' in ca ? ca.caHash : row.caHash
  const at = date(context.now())
  const turn = { initializerDeviceId: null, initializerUntil: null, stuckReason: null }
  return {
    set: {
      ...token.set,
      ...ca,
      ...(isNew ? noKubeconfig : {}),
      ...turn,
      state: await stateAfter(command, caHash ?? null),
      stateSince: at,
    },
    detail: { server_token: token.how, ca_hash: caHash ?? null },
  }
}

// It names the CA before: a server is asked for one anew.
const noKubeconfig = { kubeconfigSealed: null, kubeconfigAt: null } satisfies Partial<ClusterRow>

function newToken({ context, row }: ClusterCommand, { server_token }: Rotation) {
  if (server_token === undefined && row.state !== 'compromised') return { how: 'kept' as const, set: {} }
  const text = server_token ?? serverToken(context.random)
  const sealed = context.vault.seal(place.serverToken(row.id), text)
  return {
    how: server_token === undefined ? ('made up' as const) : ('given' as const),
    set: { serverTokenSealed: sealed } satisfies Partial<ClusterRow>,
  }
}

// The CA of a compromised cluster is as good as public; what it is now is either said, or learnt from its servers.
function newCa({ state }: ClusterRow, { ca_hash }: Rotation): Partial<ClusterRow> {
  if (ca_hash !== undefined) return { caHash: ca_hash, caHashFrom: 'admin', caHashConfirmedAt: null }
  return state === 'compromised' ? { caHash: null, caHashFrom: null, caHashConfirmedAt: null } : {}
}

async function stateAfter({ tx, row }: ClusterCommand, caHash: string | null): Promise<string> {
  const known = caHash !== null && (row.datastoreKind !== 'managed' || row.bootstrap === 'ready')
  if (known) return 'up'
  return (await hasJoinedServer(tx, row.id)) ? 'initializing' : 'virgin'
}
