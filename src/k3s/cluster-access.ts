import type { FieldError } from '../errors.ts'
import { isAuthority } from './authority.ts'
import type { ClusterAccess, ClusterSpec } from './cluster.ts'

/** What is wrong with a cluster that Rollcall is to reach by its API, by path. No reason repeats what was given: the token is secret. */
export function checkAccess(spec: ClusterSpec): FieldError[] {
  const { access, ca_hash, api_endpoint, datastore } = spec
  if (!access) return []
  const errors = [...endpointErrors(access), ...caErrors(access)]
  if (ca_hash === undefined)
    errors.push({ path: 'ca_hash', reason: 'a cluster with access needs it: no server of it tells Rollcall' })
  if (api_endpoint === undefined)
    errors.push({ path: 'api_endpoint', reason: 'a cluster with access needs it: its agents join through it' })
  if (datastore.kind === 'managed')
    errors.push({ path: 'datastore.kind', reason: 'a cluster with access has its own datastore: name its kind' })
  return errors
}

function endpointErrors({ endpoint }: ClusterAccess): FieldError[] {
  const { username, password, search, hash } = new URL(endpoint)
  if (username + password + search + hash === '') return []
  return [{ path: 'access.endpoint', reason: 'takes no user, query or fragment' }]
}

function caErrors({ ca }: ClusterAccess): FieldError[] {
  if (isAuthority(ca)) return []
  return [{ path: 'access.ca', reason: 'must be PEM certificates and nothing else' }]
}
