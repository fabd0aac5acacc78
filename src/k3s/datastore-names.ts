import { createHmac } from 'node:crypto'
import { AppError } from '../errors.ts'

/** The database of all managed clusters, apart from Rollcall's own. */
export const clustersDatabase = 'rollcall_k3s'

/** NOLOGIN; every node login is a member, so that one line of pg_hba.conf can name them all. */
export const nodesGroup = 'k3s_nodes'

/** Reads the clusters' `kine` tables and nothing else; member of nothing (DESIGN.md, "K3s rules"). */
export const observerRole = 'rollcall_observer'

/** A login that may do nothing: with it Rollcall tries the way that its nodes will take. Named like theirs, for pg_hba.conf's patterns. */
export const probeRole = 'k3s_n_probe'

/**
 * The schema of a managed cluster, and the role without login that owns it: both have this name.
 * @param clusterId `clu_…`: never a name that an admin or a device chose
 */
export const ownerRole = (clusterId: string): string => `k3s_${idOf('clu', clusterId)}`

/** The role without login that may read one cluster's table and nothing else: the observer reads as that role alone (datastore/reader.ts). */
export const readerRole = (clusterId: string): string => `k3s_r_${idOf('clu', clusterId)}`

/** The login of one server node: one an enrollment. */
export const loginRole = (enrollmentId: string): string => `k3s_n_${idOf('enr', enrollmentId)}`

/**
 * A node login's password: derived, so that nothing of it is kept; Postgres is given a SCRAM verifier only.
 * @param key the server's key for node passwords, 32 bytes
 * @returns 43 characters of base64url
 */
export function loginPassword(key: Uint8Array, enrollmentId: string): string {
  return createHmac('sha256', key).update(`datastore login\0${enrollmentId}`).digest('base64url')
}

/**
 * The password of a login that is not a node's: the observer's, the probe's.
 * @param key the server's key for node passwords, 32 bytes
 */
export function sharedLoginPassword(key: Uint8Array, role: typeof observerRole | typeof probeRole): string {
  return createHmac('sha256', key).update(`datastore role\0${role}`).digest('base64url')
}

// Role names stand in statements that take no parameters: nothing but an id of ours gets there.
function idOf(prefix: string, id: string): string {
  const found = new RegExp(`^${prefix}_([0-9a-hjkmnp-tv-z]{26})$`).exec(id)
  if (!found) throw new AppError('internal', { cause: new Error(`${prefix} id expected`) })
  return found[1] as string
}
