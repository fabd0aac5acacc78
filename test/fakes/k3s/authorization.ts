import type { Identity } from './auth.ts'
import type { Json } from './objects.ts'
import { clusterRoleBindings, clusterRoles, leases, nodes, pods, roleBindings, roles } from './resources.ts'
import type { ObjectStore, Resource } from './store.ts'

export type Verb = 'get' | 'list' | 'create' | 'update' | 'patch' | 'delete'

type Act = { verb: Verb; resource: Resource; namespace: string | undefined; name: string | undefined }

/** May they? Masters all, kubelets their own, others what roles were bound to them. */
export async function isAllowed(store: ObjectStore, caller: Identity, act: Act): Promise<boolean> {
  if (caller.groups.includes('system:masters')) return true
  if (caller.node !== undefined) return isOwn(caller.node, act)
  return isBound(store, caller, act)
}

// The node authorizer with NodeRestriction.
function isOwn(node: string, { verb, resource, namespace, name }: Act): boolean {
  if (resource === nodes) return verb === 'get' || verb === 'list' || (verb !== 'delete' && name === node)
  if (resource === leases) return namespace === 'kube-node-lease' && name === node
  return resource === pods && (verb === 'get' || verb === 'list')
}

async function isBound(store: ObjectStore, caller: Identity, act: Act): Promise<boolean> {
  const bindings = [
    ...(await store.list(clusterRoleBindings)),
    ...(act.namespace ? await store.list(roleBindings, act.namespace) : []),
  ]
  for (const binding of bindings.filter((one) => names(one, caller))) {
    const isRole = binding.roleRef.kind === 'Role'
    const role = await store.get(
      isRole ? roles : clusterRoles,
      binding.roleRef.name,
      isRole ? act.namespace : undefined,
    )
    if (((role?.rules ?? []) as Rule[]).some((rule) => permits(rule, act))) return true
  }
  return false
}

type Subject = { kind: string; name: string; namespace?: string }
type Rule = { apiGroups?: string[]; resources?: string[]; verbs: string[]; resourceNames?: string[] }

function names({ subjects }: Json, { user, groups }: Identity): boolean {
  return ((subjects ?? []) as Subject[]).some(({ kind, name, namespace }) => {
    if (kind === 'ServiceAccount') return user === `system:serviceaccount:${namespace}:${name}`
    return kind === 'Group' ? groups.includes(name) : user === name
  })
}

function permits(rule: Rule, { verb, resource, name }: Act): boolean {
  const has = (list: string[] | undefined, value: string) => list?.includes('*') || list?.includes(value)
  const named = !rule.resourceNames?.length || (name !== undefined && rule.resourceNames.includes(name))
  return Boolean(
    has(rule.verbs, verb) && has(rule.apiGroups, resource.group) && has(rule.resources, resource.plural) && named,
  )
}
