import { parseAllDocuments } from 'yaml'
import type { FieldError } from '../errors.ts'
import { isHostname } from './api-endpoint.ts'
import { isAuthority } from './authority.ts'
import type { RancherImport, RancherInstall } from './cluster.ts'
import { parseVersion } from './version.ts'

/**
 * Kubernetes minors that each Rancher supports. The newest K3s is usually ahead of it. Upper ends: `kubeVersion` of the charts on
 * releases.rancher.com; lower ends: what their release notes dropped.
 */
const supported: Readonly<Record<string, readonly [oldest: number, newest: number]>> = {
  '2.12': [31, 33],
  '2.13': [32, 34],
  '2.14': [33, 35],
  '2.15': [34, 36],
}

/** What is wrong with an import into a Rancher, by path. No reason repeats what was given: token and manifest URL are secret. */
export function checkRancherImport({ url, token, manifest_url, ca }: RancherImport): FieldError[] {
  const errors: FieldError[] = []
  const at = (member: string, reason: string) => errors.push({ path: `rancher.import${member}`, reason })
  const { username, password, search, hash } = new URL(url)
  if (username + password + search + hash !== '') at('.url', 'takes no user, query or fragment')
  if ((token === undefined) === (manifest_url === undefined)) at('', 'give either a token or a manifest_url')
  const why = manifest_url === undefined ? undefined : manifestUrlProblem(url, manifest_url)
  if (why) at('.manifest_url', why)
  if (ca !== undefined && !isAuthority(ca)) at('.ca', 'must be PEM certificates and nothing else')
  return errors
}

/**
 * Why a Rancher's manifest is not fetched from an address. What comes from there is applied with all rights, so it must be the Rancher's own origin, which
 * the admin named; otherwise whoever answers as that Rancher also chooses what this server fetches.
 */
export function manifestUrlProblem(rancherUrl: string, manifestUrl: unknown): string | undefined {
  if (typeof manifestUrl !== 'string' || manifestUrl.length > 512 || !URL.canParse(manifestUrl)) return 'is no URL'
  const { protocol, username, password, origin, host } = new URL(manifestUrl)
  if (protocol !== 'https:') return 'is no https URL'
  if (username + password !== '') return 'takes no user'
  if (origin !== new URL(rancherUrl).origin)
    return `is elsewhere (${host}): url must be what that Rancher calls itself (server-url)`
  return undefined
}

/** Why a text is not what K3s can apply as manifests: YAML documents, each an object of Kubernetes. */
export function manifestProblem(text: string): string | undefined {
  let objects: unknown[]
  try {
    const documents = [...parseAllDocuments(text)]
    if (documents.some(({ errors }) => errors.length > 0)) return 'it is no YAML'
    objects = documents.map((document) => document.toJS({ maxAliasCount: 10 })).filter((value) => value !== null)
  } catch {
    return 'it is no YAML'
  }
  if (objects.length === 0) return 'it is empty'
  return objects.every(isObject) ? undefined : 'not all of it is of Kubernetes'
}

function isObject(value: unknown): boolean {
  const { apiVersion, kind, metadata } = Object(value) as Record<string, unknown>
  const { name } = Object(metadata) as Record<string, unknown>
  return [apiVersion, kind, name].every((text) => typeof text === 'string' && text !== '')
}

/** What is wrong with the install of a Rancher on a cluster of this K3s version, by path. */
export function checkRancherInstall(install: RancherInstall, k3sVersion: string): FieldError[] {
  const errors: FieldError[] = []
  const at = (member: string, reason: string) => errors.push({ path: `rancher.install.${member}`, reason })
  if (!isHostname(install.hostname)) at('hostname', 'must be a DNS name in lower case')
  const unsupported = supportProblem(install, k3sVersion)
  if (unsupported) at('version', `${unsupported}; allow_unsupported is the way round`)
  return errors
}

/** Why a Rancher is not meant for a cluster of this K3s version; undefined if it is, or the admin does not mind. */
export function supportProblem(
  { version: rancher, allow_unsupported }: Pick<RancherInstall, 'version' | 'allow_unsupported'>,
  k3sVersion: string,
): string | undefined {
  if (allow_unsupported) return undefined
  const range = supported[rancher.split('.').slice(0, 2).join('.')]
  if (!range) return `it is not known which Kubernetes Rancher ${rancher} supports`
  const { minor } = parseVersion(k3sVersion)
  const [oldest, newest] = range
  if (minor >= oldest && minor <= newest) return undefined
  return `Rancher ${rancher} supports Kubernetes 1.${oldest} to 1.${newest}, and ${k3sVersion} is 1.${minor}`
}

/**
 * Manifests by which K3s' Helm controller installs cert-manager and Rancher (K3s docs, "Helm"). Its jobs try again until cert-manager's
 * webhook answers. Holds the bootstrap password.
 */
export function rancherManifests(install: RancherInstall): string {
  const values = [
    `hostname: ${JSON.stringify(install.hostname)}`,
    `bootstrapPassword: ${JSON.stringify(install.bootstrap_password)}`,
    `replicas: ${install.replicas}`,
  ]
  return [
    helmChart('cert-manager', {
      repo: 'https://charts.jetstack.io',
      version: install.cert_manager_version,
      namespace: 'cert-manager',
      values: ['crds:', '  enabled: true'],
    }),
    helmChart('rancher', {
      repo: 'https://releases.rancher.com/server-charts/stable',
      version: install.version,
      namespace: 'cattle-system',
      values,
    }),
  ].join('---\n')
}

type Chart = { repo: string; version: string; namespace: string; values: readonly string[] }

function helmChart(name: string, { repo, version, namespace, values }: Chart): string {
  return `apiVersion: helm.cattle.io/v1
kind: HelmChart
metadata:
  name: ${name}
  namespace: kube-system
spec:
  repo: ${repo}
  chart: ${name}
  version: ${JSON.stringify(version)}
  targetNamespace: ${namespace}
  createNamespace: true
  valuesContent: |
${values.map((line) => `    ${line}`).join('\n')}
`
}
