import { admit, type Change } from './admission.ts'
import type { Authenticator, Identity } from './auth.ts'
import { isAllowed, type Verb } from './authorization.ts'
import { discover } from './discovery.ts'
import { type Ask, json, type Reply } from './exchange.ts'
import { merge } from './merge.ts'
import { forgetNodePassword, ownNodePassword } from './node-password.ts'
import type { Json } from './objects.ts'
import { leases, nodes, resources, secrets } from './resources.ts'
import { ApiError, label, type ObjectStore, type Resource } from './store.ts'
import { tableOf } from './table.ts'

export type Api = { store: ObjectStore; authenticator: Authenticator; version: string }

type Target = { resource: Resource; namespace: string | undefined; name: string | undefined; part: string | undefined }

/** The part of the Kubernetes API that kubectl needs for Secrets, Nodes, Pods and admission policies. @throws ApiError */
export async function serveApi(api: Api, ask: Ask): Promise<Reply> {
  const caller = await api.authenticator.identify(ask.socket, ask.headers)
  if (caller === 'nobody' || caller === 'refused') throw new ApiError(401, 'Unauthorized', 'Unauthorized')
  const discovered = ask.method === 'GET' && discover(ask, api.version)
  if (discovered) return discovered
  const target = targetOf(ask.path)
  if (!target) throw new ApiError(404, 'NotFound', 'the server could not find the requested resource')
  return act(api, ask, target, caller)
}

async function act({ store }: Api, ask: Ask, target: Target, caller: Identity): Promise<Reply> {
  const { resource, namespace, name } = target
  const allow = async (verb: Verb, object?: Json) => {
    const on = { verb, resource, namespace, name: name ?? (verb === 'create' ? object?.metadata.name : undefined) }
    if (await isAllowed(store, caller, on)) return
    const where = namespace ? ` in the namespace "${namespace}"` : ' at the cluster scope'
    const what = `resource "${resource.plural}" in API group "${resource.group}"${where}`
    const message = `${label(resource, on.name ?? '')} is forbidden: User "${caller.user}" cannot ${verb} ${what}`
    throw new ApiError(403, 'Forbidden', message)
  }
  switch (ask.method) {
    case 'GET': {
      await allow(name ? 'get' : 'list')
      if (!name) return answerList(ask, resource, select(await store.list(resource, namespace), ask))
      return answer(ask, resource, found(await store.get(resource, name, namespace), target))
    }
    case 'POST': {
      const object = bodyOf(ask, target)
      await allow('create', object)
      return answer(ask, resource, await create(store, resource, object, caller), 201)
    }
    case 'PUT': {
      await allow('update')
      await admit(store, updateOf(target, caller))
      const object = bodyOf(ask, target)
      const change = (before: Json) =>
        target.part === 'status' ? { ...before, status: object.status } : prepared(object)
      return answer(ask, resource, found(await store.change(resource, name as string, namespace, change), target))
    }
    case 'PATCH':
      await allow('patch')
      return patch(store, ask, target, caller)
    case 'DELETE': {
      await allow('delete')
      const gone = found(await remove(store, target), target)
      const details = { name, kind: resource.plural, uid: gone.metadata.uid }
      return json({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details })
    }
    default:
      throw new ApiError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource')
  }
}

async function create(store: ObjectStore, resource: Resource, object: Json, { user, node }: Identity): Promise<Json> {
  if (node !== undefined && resource === nodes) restrictLabels(node, object)
  await admit(store, { operation: 'CREATE', resource, name: object.metadata.name, user })
  const created = await store.create(resource, prepared(object))
  if (resource === nodes) await ownNodePassword(store, created.metadata.name, created.metadata.uid as string)
  return created
}

// NodeRestriction, as far as servers' labels go.
function restrictLabels(node: string, { metadata }: Json): void {
  const refused = Object.keys(metadata.labels ?? {}).filter((name) => name.startsWith('node-role.kubernetes.io/'))
  if (refused.length === 0) return
  const why = `node "${node}" is not allowed to set the following labels: ${refused.join(', ')}`
  throw new ApiError(403, 'Forbidden', `nodes "${node}" is forbidden: ${why}`)
}

async function patch(store: ObjectStore, ask: Ask, target: Target, caller: Identity): Promise<Reply> {
  await admit(store, updateOf(target, caller))
  const { resource, namespace, name } = target
  const isApply = ask.headers['content-type'] === 'application/apply-patch+yaml'
  const change = JSON.parse(ask.body.toString()) as Json
  const after = await store.change(resource, name as string, namespace, (before) =>
    prepared(merge(before, change) as Json),
  )
  if (after) return answer(ask, resource, after)
  if (!isApply) throw notFound(target)
  return answer(ask, resource, await create(store, resource, bodyOf(ask, target), caller), 201)
}

const updateOf = ({ resource, part, name = '' }: Target, { user }: Identity): Change => ({
  operation: 'UPDATE',
  resource,
  part,
  name,
  user,
})

async function remove(store: ObjectStore, { resource, namespace, name }: Target): Promise<Json | undefined> {
  const gone = await store.delete(resource, name as string, namespace)
  if (gone && resource === nodes) {
    await forgetNodePassword(store, name as string)
    await store.delete(leases, name as string, 'kube-node-lease')
  }
  return gone
}

function targetOf(path: string): Target | undefined {
  const form = /^\/(?:api|apis\/([^/]+))\/v1(?:\/namespaces\/([^/]+)(?=\/))?\/([^/]+)(?:\/([^/]+))?(?:\/(status))?$/
  const [, group = '', namespace, plural, name, part] =
    form.exec(path)?.map((one) => one && decodeURIComponent(one)) ?? []
  const resource = resources.find((one) => one.group === group && one.plural === plural)
  return resource && { resource, namespace, name, part }
}

function bodyOf({ body }: Ask, { resource, namespace }: Target): Json {
  const object = JSON.parse(body.toString()) as Json
  const apiVersion = resource.group ? `${resource.group}/${resource.version}` : resource.version
  return {
    ...object,
    apiVersion,
    kind: resource.kind,
    metadata: { ...object.metadata, ...(namespace && { namespace }) },
  }
}

// What the real one does to an object on its way in.
function prepared(object: Json): Json {
  if (object.kind !== secrets.kind || !object.stringData) return object
  const { stringData, ...rest } = object
  const texts = Object.entries(stringData as Record<string, string>)
  const added = texts.map(([key, value]) => [key, Buffer.from(value).toString('base64')])
  return { ...rest, data: { ...rest.data, ...Object.fromEntries(added) } } as Json
}

function select(objects: Json[], { query }: Ask): Json[] {
  const selectors = (query.get('fieldSelector') ?? '').split(',').filter(Boolean)
  const isWanted = (object: Json, selector: string) => {
    const [, path = '', operator, value] = /^([\w.]+)(!=|==?)(.*)$/.exec(selector) ?? []
    const found = path
      .split('.')
      .reduce<unknown>((at, member) => (at as Record<string, unknown> | undefined)?.[member], object)
    return (String(found ?? '') === value) === (operator !== '!=')
  }
  return objects.filter((object) => selectors.every((selector) => isWanted(object, selector)))
}

const wantsTable = ({ headers }: Ask) => /as=Table/.test(headers.accept ?? '')

function answer(ask: Ask, resource: Resource, object: Json, status = 200): Reply {
  return json(wantsTable(ask) && ask.method === 'GET' ? tableOf(resource, [object]) : object, status)
}

function answerList(ask: Ask, { kind, group, version, ...resource }: Resource, items: Json[]): Reply {
  if (wantsTable(ask)) return json(tableOf({ kind, group, version, ...resource }, items))
  return json({ kind: `${kind}List`, apiVersion: group ? `${group}/${version}` : version, metadata: {}, items })
}

function found(object: Json | undefined, target: Target): Json {
  if (!object) throw notFound(target)
  return object
}

const notFound = ({ resource, name = '' }: Target) =>
  new ApiError(404, 'NotFound', `${label(resource, name)} not found`)
