import { AppError, type FieldError } from '../errors.ts'
import type { Drizzle } from '../store/database.ts'
import { type ClusterTraits, type ProfileTraits, placementClusters, placementProfiles } from '../store/placements.ts'

/** The profile and cluster that a device is to get, held against deletion until the transaction ends. */
export type Place = { profile: ProfileTraits; cluster: ClusterTraits | null }

/** @throws AppError `invalid` for a name that is not there */
export async function findPlace(tx: Drizzle, names: { profile: string; cluster: string | null }): Promise<Place> {
  const [profile] = await placementProfiles(tx, { names: [names.profile] }, true)
  const [cluster] = names.cluster === null ? [null] : await placementClusters(tx, { names: [names.cluster] }, true)
  const errors: FieldError[] = []
  if (!profile) errors.push({ path: 'profile', reason: 'there is no such profile' })
  if (cluster === undefined) errors.push({ path: 'cluster', reason: 'there is no such cluster' })
  if (!profile || cluster === undefined) throw new AppError('invalid', { errors })
  return { profile, cluster }
}
