import { bootstrapSecret, type KubeObject, nodeBan, secretName } from '../k3s/kube-objects.ts'
import type { SeenNode } from '../roll/sighting.ts'
import { type KubeClient, KubeError } from './kube-client.ts'

const secrets = '/api/v1/namespaces/kube-system/secrets'
const nodes = '/api/v1/nodes'
const admission = '/apis/admissionregistration.k8s.io/v1'

/** Nodes of one page, and pages at most. */
const page = 100
const mostPages = 50

const created = [200, 201, 202] as const
const gone = [200, 202, 404] as const

/**
 * Publishes a bootstrap token. The account may create and delete Secrets and neither read nor change them (a reader of kube-system's
 * Secrets has the whole cluster), so one that is there already is deleted first.
 * @param expiresAt Unix seconds
 * @throws KubeError
 */
export async function publishToken(
  kube: KubeClient,
  token: { id: string; secret: string; expiresAt: number },
): Promise<void> {
  const object = bootstrapSecret(token)
  const { status } = await kube.call('POST', secrets, [...created, 409], object)
  if (status !== 409) return
  await deleteToken(kube, token.id)
  await kube.call('POST', secrets, created, object)
}

/** Deletes a bootstrap token; one that is not there is deleted. @throws KubeError */
export async function deleteToken(kube: KubeClient, id: string): Promise<void> {
  await kube.call('DELETE', `${secrets}/${secretName(id)}`, gone)
}

/** Deletes a Node; one that is not there is deleted. @throws KubeError */
export async function deleteNode(kube: KubeClient, name: string): Promise<void> {
  await kube.call('DELETE', `${nodes}/${encodeURIComponent(name)}`, gone)
}

/** Bans a Node's name. A ban that is there already is this one: its name says all of it. @throws KubeError */
export async function banNode(kube: KubeClient, name: string): Promise<void> {
  const { policy, binding } = nodeBan(name)
  const put = (plural: string, object: KubeObject) =>
    kube.call('POST', `${admission}/${plural}`, [...created, 409], object)
  await put('validatingadmissionpolicies', policy)
  await put('validatingadmissionpolicybindings', binding)
}

/** All Nodes, in pages. `complete` is false where there are more than are looked at. @throws KubeError */
export async function listNodes(kube: KubeClient): Promise<{ nodes: SeenNode[]; complete: boolean }> {
  const all: SeenNode[] = []
  let next = ''
  for (let count = 0; count < mostPages; count++) {
    const path = `${nodes}?limit=${page}${next && `&continue=${encodeURIComponent(next)}`}`
    const list = (await kube.call('GET', path, [200])).body as NodeList | null
    if (!Array.isArray(list?.items)) throw new KubeError('away', 'it does not speak as Kubernetes does')
    all.push(...list.items.flatMap(seenNode))
    const more = list.metadata?.continue
    if (typeof more !== 'string' || more === '') return { nodes: all, complete: true }
    next = more
  }
  return { nodes: all, complete: false }
}

type NodeList = { items?: unknown; metadata?: { continue?: unknown } }
type Condition = { type?: unknown; status?: unknown; lastHeartbeatTime?: unknown }
type NodeObject = {
  metadata?: { name?: unknown }
  status?: { conditions?: unknown; nodeInfo?: { kubeletVersion?: unknown } }
}

/** What counts of a Node. Anything may stand in it: a kubelet writes its own status. */
function seenNode(item: unknown): SeenNode[] {
  const { metadata, status } = (item ?? {}) as NodeObject
  if (typeof metadata?.name !== 'string') return []
  const conditions = (Array.isArray(status?.conditions) ? status.conditions : []) as (Condition | null)[]
  const ready = conditions.find((condition) => condition?.type === 'Ready')
  const heartbeat =
    typeof ready?.lastHeartbeatTime === 'string' ? Date.parse(ready.lastHeartbeatTime) / 1000 : Number.NaN
  const version = status?.nodeInfo?.kubeletVersion
  const node: SeenNode = {
    name: metadata.name,
    ready: ready?.status === 'True' ? true : ready?.status === 'False' ? false : null,
    version: typeof version === 'string' ? version : null,
  }
  return [Number.isFinite(heartbeat) ? { ...node, seenAt: heartbeat } : node]
}
