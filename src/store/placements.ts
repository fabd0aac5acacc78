import { and, asc, eq, inArray, isNull, sql } from 'drizzle-orm'
import type { Assurance, ProfileSpec, Role } from '../documents/profile.ts'
import type { Drizzle } from './database.ts'
import { clusters, profileRevisions, profiles } from './declared-schema.ts'

/** What of a profile decides how a device may be registered: its current revision's. */
export type ProfileTraits = {
  id: string
  name: string
  revision: number
  role: Role
  minAssurance: Assurance
  reenroll: 'never' | 'approve' | 'always'
}

export type ClusterTraits = {
  id: string
  name: string
  apiEndpoint: string | null
  allowWeakServers: boolean
  /** Rollcall made it */
  takesServers: boolean
}

/** Profiles by name or id. Locked `share` by what comes to hang on them, so that none is deleted meanwhile. */
export async function placementProfiles(
  tx: Drizzle,
  by: { names: readonly string[] } | { ids: readonly string[] },
  lock = false,
): Promise<ProfileTraits[]> {
  const wanted = 'names' in by ? by.names : by.ids
  if (wanted.length === 0) return []
  const member = <T>(name: string) => sql<T>`${profileRevisions.spec}->>${sql.raw(`'${name}'`)}`
  const query = tx
    .select({
      id: profiles.id,
      name: profiles.name,
      revision: profiles.revision,
      role: member<Role>('role'),
      minAssurance: member<Assurance>('min_assurance'),
      reenroll: member<ProfileTraits['reenroll']>('reenroll'),
    })
    .from(profiles)
    .innerJoin(
      profileRevisions,
      and(eq(profileRevisions.profileId, profiles.id), eq(profileRevisions.revision, profiles.revision)),
    )
    .where(
      'names' in by
        ? and(inArray(profiles.name, [...wanted]), isNull(profiles.deletedAt))
        : inArray(profiles.id, [...wanted]),
    )
    .orderBy(asc(profiles.id))
  return lock ? query.for('share', { of: profiles }) : query
}

/** Clusters by name or id; `lock` as for profiles. */
export async function placementClusters(
  tx: Drizzle,
  by: { names: readonly string[] } | { ids: readonly string[] },
  lock = false,
): Promise<ClusterTraits[]> {
  const wanted = 'names' in by ? by.names : by.ids
  if (wanted.length === 0) return []
  const query = tx
    .select({
      id: clusters.id,
      name: clusters.name,
      apiEndpoint: clusters.apiEndpoint,
      allowWeakServers: clusters.allowWeakServers,
      takesServers: sql<boolean>`${clusters.accessSealed} is null`,
    })
    .from(clusters)
    .where(
      'names' in by
        ? and(inArray(clusters.name, [...wanted]), isNull(clusters.deletedAt))
        : inArray(clusters.id, [...wanted]),
    )
    .orderBy(asc(clusters.id))
  return lock ? query.for('share') : query
}

/** A revision as it was, for ever. */
export async function findRevision(db: Drizzle, profileId: string, revision: number): Promise<ProfileSpec | undefined> {
  const [row] = await db
    .select({ spec: profileRevisions.spec })
    .from(profileRevisions)
    .where(and(eq(profileRevisions.profileId, profileId), eq(profileRevisions.revision, revision)))
  return row?.spec
}
