import { type CaHashVerdict, type CaHashWord, judgeCaHash } from '../k3s/ca-hash-verdict.ts'
import { recordAudit } from '../store/audit.ts'
import { changeClusterRow, selectCaHash } from '../store/ca-hash.ts'
import type { ClusterRow } from '../store/clusters.ts'
import type { Drizzle } from '../store/database.ts'
import { date } from '../store/time.ts'
import type { Context } from './context.ts'

/** 64 hex digits, lower case, and who says so: the cluster's own rows (its bootstrap row is ready), or a server with its node credential. */
export type LearnCaHash = CaHashWord & { clusterId: string }

/**
 * Takes in what somebody says of a cluster's CA hash. What is known already costs one select; the first word, its confirmation and a contradiction
 * are written, and the last is told in audit and log, once.
 */
export async function learnCaHash(
  context: Pick<Context, 'db' | 'now' | 'log'>,
  { clusterId, ...word }: LearnCaHash,
): Promise<CaHashVerdict['kind']> {
  const view = await selectCaHash(context.db, clusterId)
  const first = view ? judgeCaHash(view, word) : undefined
  if (!first || first.kind === 'known') return 'known'
  if (first.kind === 'unheard') {
    if (isNews(clusterId, word)) {
      context.log.warn({ cluster: clusterId, from: word.from }, 'CA hash of a server that does not go first: not heard')
    }
    return 'unheard'
  }
  return context.db.transaction(async (tx) => {
    const view = await selectCaHash(tx, clusterId, true)
    const verdict: CaHashVerdict = view ? judgeCaHash(view, word) : { kind: 'known' }
    const now = context.now()
    const set = changes(verdict, word.caHash, date(now))
    if (view && set) await changeClusterRow(tx, clusterId, date(now), set)
    if (view && verdict.kind === 'differs') await alarm(context, tx, { clusterId, name: view.name, word }, verdict)
    return verdict.kind
  })
}

/** What was last not heard, by cluster and server: each says it once a minute. Forgotten as a whole rather than kept for ever. */
const unheard = new Map<string, string>()
const mostUnheard = 10_000

function isNews(clusterId: string, { caHash, from }: CaHashWord): boolean {
  const who = `${clusterId} ${from === 'datastore' ? from : from.deviceId}`
  if (unheard.get(who) === caHash) return false
  if (unheard.size >= mostUnheard) unheard.clear()
  unheard.set(who, caHash)
  return true
}

const comingUp = (at: Date): Partial<ClusterRow> => ({
  state: 'up',
  stateSince: at,
  stuckReason: null,
  initializerDeviceId: null,
  initializerUntil: null,
})

function changes(verdict: CaHashVerdict, caHash: string, at: Date): Partial<ClusterRow> | undefined {
  switch (verdict.kind) {
    case 'learned':
      return { caHash, caHashFrom: verdict.from, caHashConfirmedAt: null, ...(verdict.up ? comingUp(at) : {}) }
    case 'confirmed':
      return { caHashConfirmedAt: at, ...(verdict.up ? comingUp(at) : {}) }
    case 'differs':
      return { stuckReason: verdict.reason, ...(verdict.stuck ? { state: 'stuck', stateSince: at } : {}) }
    default:
      return undefined
  }
}

async function alarm(
  { now, log }: Pick<Context, 'now' | 'log'>,
  tx: Drizzle,
  { clusterId, name, word }: { clusterId: string; name: string; word: CaHashWord },
  { reason }: { reason: string },
): Promise<void> {
  log.error({ cluster: clusterId, from: word.from, ca_hash: word.caHash }, 'alarm: a cluster shows another CA hash')
  await recordAudit(tx, now(), { name: 'server' }, 'cluster.alarm.ca_hash', `cluster:${name}`, { reason })
}
