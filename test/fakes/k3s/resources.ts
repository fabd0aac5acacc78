import type { Resource } from './store.ts'

const of = (
  group: string,
  plural: string,
  kind: string,
  namespaced: boolean,
  more: Partial<Resource> = {},
): Resource => ({
  group,
  version: 'v1',
  plural,
  kind,
  namespaced,
  ...more,
})

export const nodes = of('', 'nodes', 'Node', false, { folder: 'minions', shortNames: ['no'] })
export const secrets = of('', 'secrets', 'Secret', true)
export const pods = of('', 'pods', 'Pod', true, { shortNames: ['po'] })
export const leases = of('coordination.k8s.io', 'leases', 'Lease', true)
export const policies = of(
  'admissionregistration.k8s.io',
  'validatingadmissionpolicies',
  'ValidatingAdmissionPolicy',
  false,
)
export const policyBindings = of(
  'admissionregistration.k8s.io',
  'validatingadmissionpolicybindings',
  'ValidatingAdmissionPolicyBinding',
  false,
)
export const roles = of('rbac.authorization.k8s.io', 'roles', 'Role', true)
export const roleBindings = of('rbac.authorization.k8s.io', 'rolebindings', 'RoleBinding', true)
export const clusterRoles = of('rbac.authorization.k8s.io', 'clusterroles', 'ClusterRole', false)
export const clusterRoleBindings = of('rbac.authorization.k8s.io', 'clusterrolebindings', 'ClusterRoleBinding', false)

/** What this API server serves: enough for the verbs of rollcall-node and for the least rights of an existing cluster. */
export const resources: readonly Resource[] = [
  nodes,
  secrets,
  pods,
  of('', 'namespaces', 'Namespace', false, { shortNames: ['ns'] }),
  of('', 'serviceaccounts', 'ServiceAccount', true, { shortNames: ['sa'] }),
  of('', 'configmaps', 'ConfigMap', true, { shortNames: ['cm'] }),
  leases,
  policies,
  policyBindings,
  roles,
  roleBindings,
  clusterRoles,
  clusterRoleBindings,
  of('helm.cattle.io', 'helmcharts', 'HelmChart', true),
  of('upgrade.cattle.io', 'plans', 'Plan', true),
]
