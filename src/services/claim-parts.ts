import { and, eq, inArray } from 'drizzle-orm'
import type { ProfileSpec } from '../documents/profile.ts'
import type { Datastore, VersionSpec } from '../k3s/cluster.ts'
import { clusters, profileRevisions, profiles, versions } from '../store/declared-schema.ts'
import { batcher } from './batch.ts'
import { loadBalancerOf, place } from './cluster-view.ts'
import type { Context } from './context.ts'
import { specOfVersion } from './read-versions.ts'

/** A cluster as documents need it, its datastore opened. */
export type ClusterParts = {
  id: string
  /** Counts the cluster's changes */
  version: number
  name: string
  k3sVersion: string
  apiEndpoint: string | null
  /** Rollcall made it */
  takesServers: boolean
  caHash: string | null
  datastore: Datastore
  /** Names and addresses that its servers' certificates must hold */
  tlsSans: string[]
  settings: Record<string, unknown>
  /** Text of registries.yaml */
  registries: string | null
  allowUnpinned: boolean
  /** What may run as root, by hash; undefined only where `allowUnpinned` */
  pinned: VersionSpec | undefined
}

export type ProfileParts = { id: string; name: string; revision: number; spec: ProfileSpec }

type Deps = Pick<Context, 'db' | 'vault' | 'now'>

/** Seconds after which a cluster is read again though its version is the same: hashes may have been recorded meanwhile. */
const clusterAge = 30
const mostKept = 512
/** As claims do (enroll.ts). */
const together = { max: 32, inFlight: 2 } as const

/**
 * Profile revisions and clusters, each read once a change: a revision never changes, and a cluster's `version` counts its changes,
 * so the claim's one row names exactly what may be taken from memory.
 */
export function claimParts(deps: Deps) {
  const revisions = new Map<string, Promise<ProfileParts>>()
  const kept = new Map<string, { at: number; parts: Promise<ClusterParts> }>()
  // Where each device is a cluster of its own, as at many sites, every claim asks for another one.
  const rows = batcher<string, ClusterRow | undefined>({
    ...together,
    run: (ids) => readClusters(deps, ids),
    isolate: () => false,
  })

  return {
    profile(id: string, revision: number): Promise<ProfileParts> {
      const key = `${id}/${revision}`
      return remember(
        revisions,
        key,
        (parts) => parts,
        () => readRevision(deps, id, revision),
      )
    },
    async cluster(id: string, version: number): Promise<ClusterParts> {
      const found = kept.get(id)
      const now = deps.now()
      if (found && now - found.at < clusterAge) {
        const parts = await found.parts
        if (parts.version === version) return parts
      }
      kept.delete(id)
      const fresh = () => ({ at: now, parts: rows(id).then((row) => partsOf(deps, id, row)) })
      return remember(kept, id, ({ parts }) => parts, fresh).parts
    },
  }
}

export type ClaimParts = ReturnType<typeof claimParts>

/** Keeps what `make` gives, except failures; the oldest goes when there are too many. */
function remember<T>(map: Map<string, T>, key: string, promised: (value: T) => Promise<unknown>, make: () => T): T {
  const found = map.get(key)
  if (found) return found
  const made = make()
  map.set(key, made)
  promised(made).catch(() => map.delete(key))
  if (map.size > mostKept) map.delete(map.keys().next().value as string)
  return made
}

async function readRevision({ db }: Deps, id: string, revision: number): Promise<ProfileParts> {
  const [row] = await db
    .select({ spec: profileRevisions.spec, name: profiles.name })
    .from(profileRevisions)
    .innerJoin(profiles, eq(profiles.id, profileRevisions.profileId))
    .where(and(eq(profileRevisions.profileId, id), eq(profileRevisions.revision, revision)))
  if (!row) throw new Error(`profile revision ${id}/${revision} is not there`)
  return { id, name: row.name, revision, spec: row.spec }
}

type ClusterRow = { cluster: typeof clusters.$inferSelect; version: typeof versions.$inferSelect | null }

/** Several at a time: one such statement takes Postgres 0.5 ms, most of it before the first row. */
async function readClusters({ db }: Deps, ids: readonly string[]): Promise<(ClusterRow | undefined)[]> {
  const rows = await db
    .select({ cluster: clusters, version: versions })
    .from(clusters)
    .leftJoin(versions, eq(versions.version, clusters.k3sVersion))
    .where(inArray(clusters.id, [...new Set(ids)]))
  const byId = new Map(rows.map((row) => [row.cluster.id, row]))
  return ids.map((id) => byId.get(id))
}

/** Opens what is sealed: a cluster that cannot be opened fails its own claims alone. */
function partsOf({ vault }: Deps, id: string, row: ClusterRow | undefined): ClusterParts {
  if (!row) throw new Error(`cluster ${id} is not there`)
  const { cluster, version } = row
  return {
    id,
    version: cluster.version,
    name: cluster.name,
    k3sVersion: cluster.k3sVersion,
    apiEndpoint: cluster.apiEndpoint,
    takesServers: cluster.accessSealed === null,
    caHash: cluster.caHash,
    datastore: JSON.parse(vault.open(`clusters/${id}/datastore`, cluster.datastoreSealed).toString()) as Datastore,
    tlsSans: [...cluster.tlsSans, ...loadBalancerOf(cluster).vips],
    settings: cluster.settings,
    registries: cluster.registriesSealed && vault.open(place.registries(id), cluster.registriesSealed).toString('utf8'),
    allowUnpinned: cluster.allowUnpinned,
    pinned: version ? specOfVersion(version) : undefined,
  }
}
