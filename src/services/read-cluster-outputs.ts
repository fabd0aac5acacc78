import { AppError } from '../errors.ts'
import { apiEndpoint } from '../k3s/api-endpoint.ts'
import { rewriteKubeconfig } from '../k3s/kubeconfig.ts'
import { type Front, haproxyConfig, keepalivedConfig, zoneRecords } from '../k3s/load-balancer.ts'
import { recordAudit } from '../store/audit.ts'
import { type ClusterRow, findCluster, listServers, updateCluster } from '../store/clusters.ts'
import type { Actor } from './actor.ts'
import { loadBalancerOf, place } from './cluster-view.ts'
import type { Context } from './context.ts'

/** Servers that one cluster can have in its haproxy.cfg. */
const mostServers = 1_000

/**
 * The cluster's kubeconfig, led to its API endpoint. Each time it is given out stands in the audit.
 * @throws AppError `not_found` where none is kept; `state_conflict` where what is kept cannot be given out: it is forgotten then
 */
export async function readKubeconfig({ db, vault, now }: Context, actor: Actor, name: string): Promise<string> {
  const made = await db.transaction(async (tx) => {
    const row = await findCluster(tx, name, 'update')
    if (!row) throw new AppError('not_found')
    if (!row.escrowKubeconfig) throw new AppError('not_found', { detail: 'none is kept: set escrow_kubeconfig' })
    if (!row.kubeconfigSealed) throw new AppError('not_found', { detail: 'no server of the cluster has sent it yet' })
    const { url } = endpointOf(row)
    const uploaded = vault.open(place.kubeconfig(row.id), row.kubeconfigSealed).toString()
    const made = rewriteKubeconfig(uploaded, { name: row.name, server: url, expected: row.caHash })
    // A server sends one anew with its next word on its Nodes, at most a minute later.
    if ('problem' in made) await updateCluster(tx, row.id, { kubeconfigSealed: null, kubeconfigAt: null })
    else await recordAudit(tx, now(), actor, 'cluster.kubeconfig', `cluster:${name}`)
    return made
  })
  if ('text' in made) return made.text
  throw new AppError('state_conflict', {
    detail: `${made.problem}: it was thrown away, and a server is asked for another`,
  })
}

/** haproxy.cfg for the machines before a cluster. @throws AppError `not_found`, `state_conflict` without a server or an API endpoint */
export async function readHaproxy(context: Context, name: string): Promise<string> {
  const front = await frontOf(context, name)
  if (front.backends.length === 0) throw new AppError('state_conflict', { detail: 'the cluster has no server yet' })
  return haproxyConfig(front)
}

/** keepalived.conf for these machines. @throws AppError `not_found`, `state_conflict` without VIPs */
export async function readKeepalived(context: Context, name: string, link: string, routerId: number): Promise<string> {
  const front = await frontOf(context, name)
  if (front.vips.length === 0)
    throw new AppError('state_conflict', { detail: 'the cluster has no load_balancer.vips to share' })
  return keepalivedConfig(front, { link, routerId })
}

/** Records for the API endpoint's name. @throws AppError `not_found`, `state_conflict` where no address is known */
export async function readZone(context: Context, name: string): Promise<string> {
  const text = zoneRecords(await frontOf(context, name))
  if (!text.includes(' IN '))
    throw new AppError('state_conflict', { detail: 'give load_balancer.vips or load_balancer.addresses first' })
  return text
}

async function frontOf({ db }: Context, name: string): Promise<Front> {
  const row = await findCluster(db, name)
  if (!row) throw new AppError('not_found')
  const { host, port } = endpointOf(row)
  const { vips, addresses } = loadBalancerOf(row)
  const servers = await listServers(db, row.id, mostServers)
  const given = new Map(Object.entries(addresses))
  const backends = servers.map((name) => ({ name, address: given.get(name) ?? name }))
  return { cluster: row.name, host, port, vips, backends }
}

function endpointOf({ apiEndpoint: text }: ClusterRow) {
  if (text === null) throw new AppError('state_conflict', { detail: 'the cluster has no api_endpoint' })
  return apiEndpoint(text)
}
