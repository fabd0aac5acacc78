import type { Json } from '../documents/profile.ts'
import { ClusterAccess, ClusterSpec, Datastore, type LoadBalancer, Rancher } from '../k3s/cluster.ts'
import { isRunning, type UpgradeNode } from '../k3s/upgrade.ts'
import { upgradeWarnings } from '../k3s/upgrade-plan.ts'
import { versionWarnings } from '../k3s/version-warnings.ts'
import type { ClusterRow } from '../store/clusters.ts'
import type { Drizzle } from '../store/database.ts'
import { findFailure } from '../store/devices.ts'
import { listShownNodes, readWaitingTasks } from '../store/node-view.ts'
import { seconds, secondsOrNull } from '../store/time.ts'
import { listUpgradeNodes, upgradeOf } from '../store/upgrades.ts'
import type { Vault } from '../store/vault.ts'
import type { Versioned } from './actor.ts'
import { type ClusterNode, shownNode } from './node-view.ts'
import { type UpgradeBody, upgradeBody } from './upgrade-view.ts'

/** A cluster as admins see it: nothing of its tokens, and of its datastore the kind alone. */
export type ClusterBody = {
  id: string
  name: string
  version: string
  api_endpoint: string | null
  ca_hash: string | null
  allow_unpinned: boolean
  allow_weak_servers: boolean
  datastore: { kind: Datastore['kind'] }
  tls_sans: string[]
  load_balancer: LoadBalancer
  /** What it has to do with a Rancher; the rest is secret */
  rancher: 'import' | 'install' | null
  /** It is a cluster that Rollcall did not make; how it is reached is secret */
  access: boolean
  settings: Record<string, Json>
  /** It is set; its text may hold passwords */
  registries: boolean
  state: 'virgin' | 'initializing' | 'up' | 'stuck' | 'compromised'
  state_since: number
  stuck_reason: string | null
  ca_hash_confirmed: boolean
  escrow_kubeconfig: boolean
  /** When a server uploaded it last */
  kubeconfig_at: number | null
  /** Of a managed datastore, as last read */
  bootstrap: 'virgin' | 'locked' | 'ready' | null
  observed_at: number | null
  observe_trouble: string | null
  pods_not_running: number | null
  created_at: number
  updated_at: number
}
/** What its servers still have to do for the roll, and what went wrong last */
export type ClusterTasks = {
  waiting: number
  last_failure: { verb: string; subject: string; reason: string; attempts: number; at: number } | null
}
/** Which server goes first, until when its turn lasts, and why it fails, if it does. */
export type ClusterInitializer = { serial: string; until: number; failure: string | null }
export type ShownCluster = Versioned & {
  body: ClusterBody & {
    initializer: ClusterInitializer | null
    tasks: ClusterTasks
    nodes: ClusterNode[]
    upgrade: UpgradeBody | null
    warnings: string[]
  }
}

/** Nodes that one answer shows; a larger cluster's come in pages, `/clusters/{name}/nodes`. */
const mostNodes = 1_000

export const place = {
  serverToken: (clusterId: string) => `clusters/${clusterId}/server_token`,
  datastore: (clusterId: string) => `clusters/${clusterId}/datastore`,
  rancher: (clusterId: string) => `clusters/${clusterId}/rancher`,
  rancherManifest: (clusterId: string) => `clusters/${clusterId}/rancher_manifest`,
  access: (clusterId: string) => `clusters/${clusterId}/access`,
  kubeconfig: (clusterId: string) => `clusters/${clusterId}/kubeconfig`,
  registries: (clusterId: string) => `clusters/${clusterId}/registries`,
} as const

/** @param now Unix seconds */
export async function showCluster(db: Drizzle, row: ClusterRow, now: number): Promise<ShownCluster> {
  const nodes = (await listShownNodes(db, row.id, { limit: mostNodes })).map(shownNode)
  const { waiting, lastFailure } = await readWaitingTasks(db, row.id)
  const last = upgradeOf(row)
  const seen = last ? await listUpgradeNodes(db, row.id) : []
  const upgrade = last && upgradeBody(last, row.name, seen, now)
  const initializer = await initializerOf(db, row)
  const tasks = { waiting, last_failure: lastFailure }
  const body = { ...clusterBody(row), initializer, tasks, nodes, upgrade, warnings: warningsOf(row, seen) }
  return { id: row.id, version: row.version, body }
}

/** What an admin should know of the version that runs, or is to run. */
function warningsOf(row: ClusterRow, nodes: readonly UpgradeNode[]): string[] {
  const upgrade = upgradeOf(row)
  const kind = row.datastoreKind as Datastore['kind']
  if (!isRunning(upgrade)) return versionWarnings(row.k3sVersion, kind)
  const rancher = 'the cluster is tied to a Rancher: let one of the two upgrade it, never both'
  return [
    ...versionWarnings(upgrade.to, kind),
    ...upgradeWarnings(upgrade, nodes),
    ...(row.rancherSealed ? [rancher] : []),
  ]
}

async function initializerOf(db: Drizzle, row: ClusterRow): Promise<ClusterInitializer | null> {
  const { initializerDeviceId: id, initializerUntil: until } = row
  const first = id === null ? undefined : await findFailure(db, id)
  return first === undefined || until === null ? null : { ...first, until: seconds(until) }
}

export function clusterBody(row: ClusterRow): ClusterBody {
  return {
    id: row.id,
    name: row.name,
    version: row.k3sVersion,
    api_endpoint: row.apiEndpoint,
    ca_hash: row.caHash,
    allow_unpinned: row.allowUnpinned,
    allow_weak_servers: row.allowWeakServers,
    datastore: { kind: row.datastoreKind as Datastore['kind'] },
    tls_sans: row.tlsSans,
    load_balancer: loadBalancerOf(row),
    rancher: row.rancherKind as ClusterBody['rancher'],
    access: row.accessSealed !== null,
    settings: row.settings as Record<string, Json>,
    registries: row.registriesSealed !== null,
    state: row.state as ClusterBody['state'],
    state_since: seconds(row.stateSince),
    stuck_reason: row.stuckReason,
    ca_hash_confirmed: row.caHashConfirmedAt !== null,
    escrow_kubeconfig: row.escrowKubeconfig,
    kubeconfig_at: secondsOrNull(row.kubeconfigAt),
    bootstrap: row.bootstrap as ClusterBody['bootstrap'],
    observed_at: secondsOrNull(row.observedAt),
    observe_trouble: row.observeTrouble,
    pods_not_running: row.podsNotRunning,
    created_at: seconds(row.createdAt),
    updated_at: seconds(row.updatedAt),
  }
}

/** A cluster from before there were any has none. */
export const loadBalancerOf = (row: Pick<ClusterRow, 'loadBalancer'>): LoadBalancer => ({
  vips: [],
  addresses: {},
  ...row.loadBalancer,
})

export const rancherOf = (clusterId: string, sealed: Uint8Array, vault: Vault): Rancher =>
  Rancher.parse(JSON.parse(vault.open(place.rancher(clusterId), sealed).toString()))

export const accessOf = (clusterId: string, sealed: Uint8Array, vault: Vault): ClusterAccess =>
  ClusterAccess.parse(JSON.parse(vault.open(place.access(clusterId), sealed).toString()))

/** What the admin last asked for, secrets included: what a change is merged into. */
export function specOf(row: ClusterRow, vault: Vault): ClusterSpec {
  const sealed = vault.open(place.datastore(row.id), row.datastoreSealed).toString('utf8')
  return ClusterSpec.parse({
    name: row.name,
    version: row.k3sVersion,
    ...(row.apiEndpoint === null ? {} : { api_endpoint: row.apiEndpoint }),
    ...(row.caHash === null ? {} : { ca_hash: row.caHash }),
    allow_unpinned: row.allowUnpinned,
    allow_weak_servers: row.allowWeakServers,
    datastore: Datastore.parse(JSON.parse(sealed)),
    tls_sans: row.tlsSans,
    load_balancer: loadBalancerOf(row),
    ...(row.rancherSealed === null ? {} : { rancher: rancherOf(row.id, row.rancherSealed, vault) }),
    ...(row.accessSealed === null ? {} : { access: accessOf(row.id, row.accessSealed, vault) }),
    escrow_kubeconfig: row.escrowKubeconfig,
    settings: row.settings,
    ...(row.registriesSealed === null
      ? {}
      : { registries: vault.open(place.registries(row.id), row.registriesSealed).toString('utf8') }),
  })
}

/** The columns that a spec fills, its datastore sealed. */
export function columnsOf(id: string, spec: ClusterSpec, vault: Vault) {
  return {
    name: spec.name,
    k3sVersion: spec.version,
    apiEndpoint: spec.api_endpoint ?? null,
    caHash: spec.ca_hash ?? null,
    allowUnpinned: spec.allow_unpinned,
    allowWeakServers: spec.allow_weak_servers,
    datastoreKind: spec.datastore.kind,
    datastoreSealed: vault.seal(place.datastore(id), JSON.stringify(spec.datastore)),
    tlsSans: spec.tls_sans,
    loadBalancer: spec.load_balancer,
    rancherKind: spec.rancher ? (spec.rancher.import ? 'import' : 'install') : null,
    rancherSealed: spec.rancher ? vault.seal(place.rancher(id), JSON.stringify(spec.rancher)) : null,
    accessSealed: spec.access ? vault.seal(place.access(id), JSON.stringify(spec.access)) : null,
    escrowKubeconfig: spec.escrow_kubeconfig,
    // Who no longer wants it kept wants it gone.
    ...(spec.escrow_kubeconfig ? {} : { kubeconfigSealed: null, kubeconfigAt: null }),
    settings: spec.settings,
    registriesSealed: spec.registries === undefined ? null : vault.seal(place.registries(id), spec.registries),
  }
}
