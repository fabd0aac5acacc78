import { stringify } from 'yaml'

/** Where the account lives: in a namespace of its own, so that its rights on Secrets do not reach its own token. */
const namespace = 'rollcall'
const account = 'rollcall'
const user = `system:serviceaccount:${namespace}:${account}`
const rbac = 'rbac.authorization.k8s.io'
const admission = 'admissionregistration.k8s.io'

/**
 * What an admin applies to a cluster that Rollcall did not make: an account with the least rights that work. It reads no Secret at all:
 * who may create and get Secrets of kube-system can mint a token of any account there.
 * @param bans also lets it ban the names of revoked Nodes. Such a right cannot be narrowed (Kubernetes takes admission policies
 * themselves out of admission), and whoever has it can stop the cluster.
 */
export function accessManifest({ bans }: { bans: boolean }): string {
  return [
    object('v1', 'Namespace', { name: namespace }),
    object('v1', 'ServiceAccount', { name: account, namespace }, { automountServiceAccountToken: false }),
    // Before there is a right that it narrows.
    tokenPolicy,
    object(
      `${admission}/v1`,
      'ValidatingAdmissionPolicyBinding',
      { name: 'rollcall-join-tokens' },
      {
        spec: { policyName: 'rollcall-join-tokens', validationActions: ['Deny'] },
      },
    ),
    accountToken,
    ...roleOf('Role', 'rollcall-join-tokens', [
      { apiGroups: [''], resources: ['secrets'], verbs: ['create', 'delete'] },
    ]),
    ...roleOf('ClusterRole', 'rollcall-nodes', [
      { apiGroups: [''], resources: ['nodes'], verbs: ['get', 'list', 'watch', 'delete'] },
    ]),
    ...(bans ? roleOf('ClusterRole', 'rollcall-bans', banRules) : []),
  ]
    .map((one) => stringify(one, { lineWidth: 0 }))
    .join('---\n')
}

type Metadata = { name: string; namespace?: string; annotations?: Record<string, string> }

const object = (apiVersion: string, kind: string, metadata: Metadata, rest: object = {}) => ({
  apiVersion,
  kind,
  metadata,
  ...rest,
})

/** Kubernetes fills it in; it is valid until it is deleted. */
const accountToken = object(
  'v1',
  'Secret',
  { name: 'rollcall-token', namespace, annotations: { 'kubernetes.io/service-account.name': account } },
  { type: 'kubernetes.io/service-account-token' },
)

const banRules = [
  {
    apiGroups: [admission],
    resources: ['validatingadmissionpolicies', 'validatingadmissionpolicybindings'],
    verbs: ['create'],
  },
]

function roleOf(kind: 'Role' | 'ClusterRole', name: string, rules: object[]): object[] {
  const metadata = kind === 'Role' ? { name, namespace: 'kube-system' } : { name }
  return [
    object(`${rbac}/v1`, kind, metadata, { rules }),
    object(`${rbac}/v1`, `${kind}Binding`, metadata, {
      roleRef: { apiGroup: rbac, kind, name },
      subjects: [{ kind: 'ServiceAccount', name: account, namespace }],
    }),
  ]
}

const members = "['token-id', 'token-secret', 'expiration', 'usage-bootstrap-authentication']"

/** RBAC knows no types of Secrets and no prefixes of names: this does. What it cannot decide it denies. */
const tokenPolicy = object(
  `${admission}/v1`,
  'ValidatingAdmissionPolicy',
  { name: 'rollcall-join-tokens' },
  {
    spec: {
      failurePolicy: 'Fail',
      matchConstraints: {
        resourceRules: [
          { apiGroups: [''], apiVersions: ['*'], operations: ['CREATE', 'UPDATE', 'DELETE'], resources: ['secrets'] },
        ],
      },
      matchConditions: [{ name: 'rollcall', expression: `request.userInfo.username == '${user}'` }],
      validations: [
        {
          expression:
            "(request.operation == 'DELETE' ? request.name : object.metadata.name).startsWith('bootstrap-token-')",
          message: 'Rollcall touches bootstrap tokens alone',
        },
        {
          expression: "request.operation == 'DELETE' || object.type == 'bootstrap.kubernetes.io/token'",
          message: 'Rollcall creates bootstrap tokens alone',
        },
        {
          expression: "request.operation == 'DELETE' || (has(object.data) && 'expiration' in object.data)",
          message: 'a bootstrap token of Rollcall ends',
        },
        {
          expression: `request.operation == 'DELETE' || (has(object.data) && object.data.all(key, key in ${members}))`,
          message: 'a bootstrap token of Rollcall lets agents join and nothing else',
        },
      ],
    },
  },
)
