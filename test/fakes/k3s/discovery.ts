import { type Ask, json, plain, type Reply } from './exchange.ts'
import { resources } from './resources.ts'
import type { Resource } from './store.ts'

const verbs = ['create', 'delete', 'get', 'list', 'patch', 'update']
const versionOf = ({ group, version }: Resource) => (group ? `${group}/${version}` : version)
const groups = [...new Set(resources.map(({ group }) => group))].filter(Boolean)
const pathOf = (groupVersion: string) => (groupVersion.includes('/') ? `apis/${groupVersion}` : `api/${groupVersion}`)

/** What kubectl asks before it does anything: which kinds there are, and whether the server checks fields. */
export function discover({ path }: Ask, version: string): Reply | undefined {
  if (path === '/version') return json({ major: '1', minor: version.split('.')[1], gitVersion: version })
  if (['/readyz', '/livez', '/healthz'].includes(path)) return plain('ok')
  if (path === '/api') return json({ kind: 'APIVersions', versions: ['v1'] })
  if (path === '/apis') return json({ kind: 'APIGroupList', apiVersion: 'v1', groups: groups.map(groupOf) })
  if (path === '/openapi/v3')
    return json({ paths: Object.fromEntries(versions.map((v) => [pathOf(v), openApiPath(v)])) })
  const [, openApi] = /^\/openapi\/v3\/(.+)$/.exec(path) ?? []
  const found = versions.find((one) => pathOf(one) === (openApi ?? path.slice(1)))
  if (!found) return undefined
  return openApi ? json(openApiOf(found)) : json({ kind: 'APIResourceList', apiVersion: 'v1', ...listOf(found) })
}

const versions = [...new Set(resources.map(versionOf))]

function groupOf(name: string) {
  const version = { groupVersion: `${name}/v1`, version: 'v1' }
  return { name, versions: [version], preferredVersion: version }
}

function listOf(groupVersion: string) {
  const own = resources.filter((one) => versionOf(one) === groupVersion)
  return {
    groupVersion,
    resources: own.map(({ plural, kind, namespaced, shortNames }) => ({
      name: plural,
      singularName: kind.toLowerCase(),
      kind,
      namespaced,
      verbs,
      ...(shortNames && { shortNames }),
    })),
  }
}

const openApiPath = (version: string) => ({ serverRelativeURL: `/openapi/v3/${pathOf(version)}?hash=simulator` })

/** Only what kubectl's apply looks for: that PATCH takes `fieldValidation`. */
function openApiOf(groupVersion: string) {
  const own = resources.filter((one) => versionOf(one) === groupVersion)
  const paths = own.map(({ group, version, kind, plural, namespaced }) => [
    `/${pathOf(groupVersion)}/${namespaced ? 'namespaces/{namespace}/' : ''}${plural}/{name}`,
    {
      patch: {
        parameters: [{ name: 'fieldValidation', in: 'query' }],
        responses: {},
        'x-kubernetes-group-version-kind': { group, version, kind },
      },
    },
  ])
  return { openapi: '3.0.0', info: { title: 'Kubernetes', version: 'simulator' }, paths: Object.fromEntries(paths) }
}
