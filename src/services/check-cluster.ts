import { isIP } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import { AppError, type FieldError } from '../errors.ts'
import { apiEndpoint, isHostname } from '../k3s/api-endpoint.ts'
import type { ClusterSpec } from '../k3s/cluster.ts'
import { checkAccess } from '../k3s/cluster-access.ts'
import { checkDatastore } from '../k3s/datastore.ts'
import { checkLoadBalancer } from '../k3s/load-balancer.ts'
import { checkRancherImport, checkRancherInstall } from '../k3s/rancher.ts'
import { checkRegistries } from '../k3s/registries.ts'
import { checkSettings } from '../k3s/settings.ts'
import type { Drizzle } from '../store/database.ts'
import { findVersion } from '../store/versions.ts'
import type { Context } from './context.ts'
import { refuse } from './invalid.ts'

type Deps = Pick<Context, 'managed'> & { db: Drizzle }

/**
 * Checks what the schema cannot say.
 * @param before what it was: a Rancher that runs there is no reason against a change of something else
 * @throws AppError `invalid` with every reason at once
 */
export async function checkCluster({ db, managed }: Deps, spec: ClusterSpec, before?: ClusterSpec): Promise<void> {
  refuse([
    ...endpointErrors(spec.api_endpoint),
    ...sanErrors(spec.tls_sans),
    ...checkLoadBalancer(spec.load_balancer),
    ...(before && isDeepStrictEqual(rancherGround(before), rancherGround(spec)) ? [] : rancherErrors(spec)),
    ...checkAccess(spec),
    ...checkDatastore(spec.datastore),
    ...managedErrors(spec, managed),
    ...checkSettings(spec.settings),
    ...(spec.registries === undefined ? [] : checkRegistries(spec.registries)),
    ...(await versionErrors(db, spec)),
  ])
}

/** @throws AppError `invalid` if a version has no hashes on record and must have some */
export async function refuseUnrecorded(db: Drizzle, spec: Pinned): Promise<void> {
  refuse(await versionErrors(db, spec))
}

type Pinned = Pick<ClusterSpec, 'version' | 'allow_unpinned'>

async function versionErrors(db: Drizzle, spec: Pinned): Promise<FieldError[]> {
  if (spec.allow_unpinned || (await findVersion(db, spec.version))) return []
  const reason = `no hashes of ${spec.version} are on record: rollcall versions add (or POST /versions) first, or say allow_unpinned`
  return [{ path: 'version', reason }]
}

function managedErrors({ datastore }: ClusterSpec, managed: Deps['managed']): FieldError[] {
  if (datastore.kind !== 'managed' || managed) return []
  const reason = 'this server manages no PostgreSQL for clusters: set ROLLCALL_DATASTORE_ADDRESS'
  return [{ path: 'datastore.kind', reason }]
}

/** What a Rancher's checks look at. */
const rancherGround = ({ rancher, version, settings }: ClusterSpec) => [rancher, version, settings[helmOff]]
const helmOff = 'disable-helm-controller'

function rancherErrors({ rancher, version, settings }: ClusterSpec): FieldError[] {
  const noHelm = { path: `settings.${helmOff}`, reason: 'it is what installs the Rancher of rancher.install' }
  if (rancher?.install)
    return [...checkRancherInstall(rancher.install, version), ...(settings[helmOff] === true ? [noHelm] : [])]
  return rancher?.import ? checkRancherImport(rancher.import) : []
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
