import type { DocumentInput } from '../documents/input.ts'
import type { Json, Role } from '../documents/profile.ts'
import { AppError } from '../errors.ts'
import { apiEndpoint } from '../k3s/api-endpoint.ts'
import { agentSettings, type ConfigValue, configYaml, line, paths } from '../k3s/config.ts'
import { type DatastoreConfig, datastoreConfig, managedConfig, managedEnv } from '../k3s/datastore.ts'
import { managedEndpoint, type NodeLogin } from '../k3s/datastore-address.ts'
import { environmentFile } from '../k3s/environment.ts'
import { firewall } from '../k3s/firewall.ts'
import { installEnv, type System } from '../k3s/install.ts'
import type { ClusterParts, ProfileParts } from './claim-parts.ts'
import { containerOf, containerTexts, runsInContainer } from './container-parts.ts'
import type { Context } from './context.ts'
import { installSources } from './install-sources.ts'

/** All that a document is made of. */
export type ComposeParts = {
  device: {
    id: string
    serial: string
    hostname: string
    labels: Record<string, string>
    vars: Record<string, Json>
    note: string
  }
  role: Role
  profile: ProfileParts
  cluster: ClusterParts
  /** `join`: a server's ticket or an agent's K3s token; `node` is empty for agents */
  enrollment: { id: string; join: string; report: string; node: string }
}

export type DocumentDeps = Pick<Context, 'settings' | 'mirror' | 'managed'>

/** What of a document does not change from device to device of a profile revision, cluster and role. */
export type SharedParts = Pick<DocumentInput, 'cluster' | 'profile' | 'server'> & {
  /** config.yaml but for the node's name */
  config: string
  k3s: Omit<DocumentInput['k3s'], 'config' | 'token' | 'install' | 'container'>
  /** A server of a managed cluster: where its login is good */
  datastoreAddress: string | undefined
  install: Omit<DocumentInput['k3s']['install'], 'binary'>
}

/**
 * @throws AppError `state_conflict` if the cluster lacks what the role needs: an endpoint for agents, hashes for what runs as root;
 *   `datastore_unavailable` if its datastore is managed, and not configured on this server
 */
export function sharedParts(deps: DocumentDeps, { profile, cluster, role }: ComposeParts): SharedParts {
  const { settings, mirror } = deps
  const datastore = role === 'server' ? datastoreOf(deps, cluster) : noDatastore
  const { images, selinux, mirrored, ...install } = installSources(settings, mirror, cluster)
  const env = datastore.env
  return {
    cluster: { name: cluster.name, version: cluster.k3sVersion, api_endpoint: cluster.apiEndpoint ?? '' },
    profile: { name: profile.name, revision: profile.revision, packages: profile.spec.packages },
    server: {
      url: settings.publicUrl,
      pins: settings.pins,
      ca: settings.ca,
      audience: settings.audiences[0] ?? settings.publicUrl,
    },
    config: configYaml(role, { ...roleKeys(cluster, role), ...datastore.keys }),
    k3s: {
      unit: unitOf(role),
      files: [...datastore.files, ...environmentFile(env)],
      datastore: cluster.datastore.kind,
      env,
      images,
      registries: cluster.registries ?? '',
      selinux,
      firewall: firewall(role, cluster.datastore.kind, cluster.settings),
    },
    datastoreAddress: datastore.address,
    install: { env: installEnv(systemOf(profile), role, cluster.k3sVersion, mirrored), ...install },
  }
}

type DatastoreParts = DatastoreConfig & { env: Record<string, string>; address: string | undefined }
const noDatastore: DatastoreParts = { keys: {}, files: [], env: {}, address: undefined }

function datastoreOf({ managed }: DocumentDeps, { datastore }: ClusterParts): DatastoreParts {
  if (datastore.kind !== 'managed') return { ...noDatastore, ...datastoreConfig(datastore) }
  if (!managed) {
    const cause = new Error('ROLLCALL_DATASTORE_ADDRESS is not set on this server')
    throw new AppError('datastore_unavailable', { cause })
  }
  return { ...managedConfig(managed.ca), env: managedEnv, address: managed.address }
}

/** What is derived for one device and one enrollment: nothing of it is kept. */
export type NodeSecrets = {
  nodePassword: string
  /** For a server of a managed cluster */
  login: () => NodeLogin
}

/** All that a template can say about one device and one enrollment. */
export function documentInput(
  { settings, mirror }: Pick<DocumentDeps, 'settings' | 'mirror'>,
  shared: SharedParts,
  parts: ComposeParts,
  { nodePassword, login }: NodeSecrets,
): DocumentInput {
  const { device, role, profile, enrollment } = parts
  const { serial, hostname, labels, vars, note } = device
  const isServer = role === 'server'
  const merged = { ...profile.spec.vars, ...vars }
  const container = runsInContainer(merged)
    ? containerOf({ device: parts.device, role, vars: merged, k3s: shared.k3s }, parts.cluster, mirror)
    : undefined
  return {
    device: { serial, hostname, labels, vars, note },
    cluster: shared.cluster,
    profile: shared.profile,
    role,
    enrollment: { id: enrollment.id },
    vars: merged,
    server: shared.server,
    k3s: {
      ...shared.k3s,
      config: `${line('node-name', hostname)}\n${endpointLine(shared, login)}${shared.config}`,
      token: isServer ? '' : enrollment.join,
      container: container ? containerTexts(container) : null,
      install: { ...shared.install, binary: container ? null : binaryOf(shared, profile, merged) },
    },
    secret: {
      report_url: `${settings.publicUrl}/v1/report/${enrollment.report}`,
      join: isServer ? enrollment.join : '',
      node: isServer ? enrollment.node : '',
      node_password: nodePassword,
    },
  }
}

const endpointLine = ({ datastoreAddress }: SharedParts, login: () => NodeLogin) =>
  datastoreAddress === undefined ? '' : `${line('datastore-endpoint', managedEndpoint(datastoreAddress, login()))}\n`

/** Ignition fetches the binary before the machine can say what it is. */
function binaryOf({ install, cluster }: SharedParts, { spec }: ProfileParts, vars: Record<string, Json>) {
  const arch = Object.hasOwn(vars, 'arch') ? vars.arch : 'amd64'
  const binary = install.binaries.find((one) => one.arch === arch) ?? null
  if (!binary && spec.document === 'ignition') {
    throw new AppError('state_conflict', { detail: `no binary of ${cluster.version} on record for vars.arch` })
  }
  return binary
}

/** config.yaml's keys of a role, but for the node's name and the datastore. */
function roleKeys(cluster: ClusterParts, role: Role): Record<string, ConfigValue> {
  const api = cluster.apiEndpoint === null ? undefined : apiEndpoint(cluster.apiEndpoint)
  const settings = cluster.settings as Record<string, ConfigValue>
  if (role === 'agent') {
    if (!api) throw new AppError('state_conflict', { detail: `${cluster.name} has no api_endpoint for agents to join` })
    return { 'token-file': paths.token, server: api.url, ...agentSettings(settings) }
  }
  const names = [...new Set([...(api ? [api.host] : []), ...cluster.tlsSans])]
  return { 'token-file': paths.token, ...(names.length > 0 ? { 'tls-san': names } : {}), ...settings }
}

const unitOf = (role: Role) => (role === 'server' ? 'k3s' : 'k3s-agent')

function systemOf({ spec }: ProfileParts): System {
  return typeof spec.template === 'string' ? (spec.template.slice('builtin:'.length) as System) : 'other'
}
