import { asMessage, asNumber, asText, pick, type Value, walk } from './protobuf.ts'

/** A Node as its cluster keeps it. */
export type NodeRecord = {
  /** Null: unknown, its kubelet does not report */
  ready: boolean | null
  /** When `ready` became that, by the cluster's clock; Unix seconds */
  since: number | null
  /** Of its kubelet, e.g. `v1.36.3+k3s1` */
  version: string | null
}

/** Where Nodes and their signs of life are kept (Kubernetes' registry paths); a Node's name follows. */
export const nodePrefix = '/registry/minions/'
export const leasePrefix = '/registry/leases/kube-node-lease/'

// Field numbers: k8s.io/api/core/v1/generated.proto and k8s.io/api/coordination/v1/generated.proto, seen in rows of K3s v1.36.3.
const unknown = { typeMeta: 1, raw: 2 } as const
const typeMeta = { apiVersion: 1, kind: 2 } as const
const node = { status: 3 } as const
const nodeStatus = { conditions: 4, nodeInfo: 7 } as const
const condition = { type: 1, status: 2, lastTransitionTime: 4 } as const
const nodeInfo = { kubeletVersion: 7 } as const
const lease = { spec: 2 } as const
const leaseSpec = { renewTime: 4 } as const
const time = { seconds: 1 } as const

const magic = Buffer.from('k8s\0')

/**
 * Reads a Node from what Kubernetes keeps of it: `k8s\0`, then a protobuf `runtime.Unknown`.
 * @param value of unknown origin
 * @returns undefined if it is none
 */
export function readNode(value: Uint8Array): NodeRecord | undefined {
  const [status] = fieldsOf(objectOf(value, 'v1', 'Node'), [node.status]) ?? []
  const message = asMessage(status)
  if (!message) return undefined
  let version: string | undefined
  let ready: NodeRecord['ready'] = null
  let since: number | undefined
  const whole = walk(message, (field, part) => {
    if (field === nodeStatus.nodeInfo) version = asText(fieldsOf(asMessage(part), [nodeInfo.kubeletVersion])?.[0])
    if (field !== nodeStatus.conditions) return
    const [type, status, at] =
      fieldsOf(asMessage(part), [condition.type, condition.status, condition.lastTransitionTime]) ?? []
    if (asText(type) !== 'Ready') return
    ready = states.get(asText(status) ?? '') ?? null
    since = secondsOf(at)
  })
  return whole ? { ready, since: since ?? null, version: version || null } : undefined
}

/**
 * Reads when a Node's kubelet last gave a sign of life, by its own clock, from its Lease.
 * @param value of unknown origin
 * @returns Unix seconds
 */
export function readRenewTime(value: Uint8Array): number | undefined {
  const [spec] = fieldsOf(objectOf(value, 'coordination.k8s.io/v1', 'Lease'), [lease.spec]) ?? []
  return secondsOf(fieldsOf(asMessage(spec), [leaseSpec.renewTime])?.[0])
}

const states = new Map([
  ['True', true],
  ['False', false],
])

function objectOf(value: Uint8Array, apiVersion: string, kind: string): Uint8Array | undefined {
  if (!magic.equals(value.subarray(0, magic.length))) return undefined
  const [meta, raw] = fieldsOf(value.subarray(magic.length), [unknown.typeMeta, unknown.raw]) ?? []
  const [version, name] = fieldsOf(asMessage(meta), [typeMeta.apiVersion, typeMeta.kind]) ?? []
  return asText(version) === apiVersion && asText(name) === kind ? asMessage(raw) : undefined
}

const fieldsOf = (message: Uint8Array | undefined, fields: readonly number[]): (Value | undefined)[] | undefined =>
  message && pick(message, fields)

const secondsOf = (value: Value | undefined): number | undefined =>
  asNumber(fieldsOf(asMessage(value), [time.seconds])?.[0])
