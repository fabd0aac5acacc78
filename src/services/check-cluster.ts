import { isIP } from 'node:net'
import { AppError, type FieldError } from '../errors.ts'
import { apiEndpoint, isHostname } from '../k3s/api-endpoint.ts'
import type { ClusterSpec } from '../k3s/cluster.ts'
import { checkDatastore } from '../k3s/datastore.ts'
import { checkSettings } from '../k3s/settings.ts'
import type { Drizzle } from '../store/database.ts'
import { findVersion } from '../store/versions.ts'
import { refuse } from './invalid.ts'

/**
 * Checks what the schema cannot say.
 * @throws AppError `invalid` with every reason at once
 */
export async function checkCluster(db: Drizzle, spec: ClusterSpec): Promise<void> {
  refuse([
    ...endpointErrors(spec.api_endpoint),
    ...sanErrors(spec.tls_sans),
    ...checkDatastore(spec.datastore),
    ...checkSettings(spec.settings),
    ...(await versionErrors(db, spec)),
  ])
}

async function versionErrors(db: Drizzle, spec: ClusterSpec): Promise<FieldError[]> {
  if (spec.allow_unpinned || (await findVersion(db, spec.version))) return []
  const reason = `no hashes of ${spec.version} are on record: POST /versions first, or say allow_unpinned`
  return [{ path: 'version', reason }]
}

function endpointErrors(endpoint: string | undefined): readonly FieldError[] {
  try {
    if (endpoint !== undefined) apiEndpoint(endpoint)
    return []
  } catch (error) {
    if (error instanceof AppError && error.errors) return error.errors
    throw error
  }
}

function sanErrors(sans: readonly string[]): FieldError[] {
  return sans.flatMap((san, i) =>
    isIP(san) || isHostname(san.toLowerCase())
      ? []
      : [{ path: `tls_sans.${i}`, reason: 'must be a DNS name or an IP' }],
  )
}
