/** An object of the Kubernetes API, to be created. */
export type KubeObject = { apiVersion: string; kind: string; metadata: { name: string; namespace?: string } }

/** Name of the Secret of a bootstrap token. */
export const secretName = (tokenId: string): string => `bootstrap-token-${tokenId}`

/**
 * The Secret by which a token lets agents join. Signing and further groups are not needed (K3s pkg/server/router.go).
 * @param expiresAt Unix seconds
 */
export function bootstrapSecret(token: { id: string; secret: string; expiresAt: number }): KubeObject {
  const stringData = {
    'token-id': token.id,
    'token-secret': token.secret,
    expiration: new Date(token.expiresAt * 1000).toISOString().replace(/\.\d{3}Z$/, 'Z'),
    'usage-bootstrap-authentication': 'true',
  }
  const metadata = { name: secretName(token.id), namespace: 'kube-system' }
  return { apiVersion: 'v1', kind: 'Secret', metadata, type: 'bootstrap.kubernetes.io/token', stringData } as KubeObject
}

const admission = 'admissionregistration.k8s.io/v1'
const write = { apiVersions: ['*'], operations: ['CREATE', 'UPDATE'] }

/** The same ban that rollcall-node writes: a kubelet's certificate outlives its Node, so what it writes under that name is refused. */
export function nodeBan(node: string): { policy: KubeObject; binding: KubeObject } {
  const name = `rollcall-ban-${node}`
  const spec = {
    failurePolicy: 'Fail',
    matchConstraints: {
      resourceRules: [
        { apiGroups: [''], ...write, resources: ['nodes', 'nodes/status', 'pods', 'pods/status'] },
        { apiGroups: ['coordination.k8s.io'], ...write, resources: ['leases'] },
      ],
    },
    matchConditions: [{ name: 'banned', expression: `request.userInfo.username == 'system:node:${node}'` }],
    validations: [{ expression: 'false', message: 'this node was revoked' }],
  }
  const bound = { policyName: name, validationActions: ['Deny'] }
  return {
    policy: { ...object('ValidatingAdmissionPolicy', name), spec } as KubeObject,
    binding: { ...object('ValidatingAdmissionPolicyBinding', name), spec: bound } as KubeObject,
  }
}

const object = (kind: string, name: string): KubeObject => ({ apiVersion: admission, kind, metadata: { name } })
