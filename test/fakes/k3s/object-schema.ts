import type { Field, Message } from '../../kine/protobuf.ts'

// Kubernetes' generated.proto files, as much as a Node's life needs. Written from the wire format; the fixtures are decoded and encoded again,
// byte by byte, in test/fakes/k3s/objects.test.ts.

const message = (...fields: Field[]): Message => ({ writesEmpty: true, fields })
const text = (n: number, name: string): Field => ({ n, name, type: 'string' })
const int = (n: number, name: string): Field => ({ n, name, type: 'int' })
const many = (n: number, name: string, type: Field['type']): Field => ({ n, name, type, repeated: true })
const mapOf = (n: number, name: string, type: Field['type']): Field => ({ n, name, type, map: true })
const maybe = (n: number, name: string, type: Field['type']): Field => ({ n, name, type, optional: true })

/** RFC 3339 in JSON. */
export const time = message(int(1, 'seconds'), int(2, 'nanos'))
/** A text in JSON. */
export const quantity = message(maybe(1, 'string', 'string'))
/** A set of fields: an object in JSON, its text in protobuf. */
export const fieldsV1 = message({ n: 1, name: 'raw', type: 'bytes' })

const managedFields = message(
  text(1, 'manager'),
  text(2, 'operation'),
  text(3, 'apiVersion'),
  maybe(4, 'time', time),
  text(6, 'fieldsType'),
  maybe(7, 'fieldsV1', fieldsV1),
  text(8, 'subresource'),
)
const ownerReference = message(
  text(1, 'kind'),
  text(3, 'name'),
  text(4, 'uid'),
  text(5, 'apiVersion'),
  maybe(6, 'controller', 'bool'),
  maybe(7, 'blockOwnerDeletion', 'bool'),
)
const metadata: Field = {
  n: 1,
  name: 'metadata',
  type: message(
    text(1, 'name'),
    text(2, 'generateName'),
    text(3, 'namespace'),
    text(4, 'selfLink'),
    text(5, 'uid'),
    text(6, 'resourceVersion'),
    int(7, 'generation'),
    { n: 8, name: 'creationTimestamp', type: time },
    maybe(9, 'deletionTimestamp', time),
    maybe(10, 'deletionGracePeriodSeconds', 'int'),
    mapOf(11, 'labels', 'string'),
    mapOf(12, 'annotations', 'string'),
    many(13, 'ownerReferences', ownerReference),
    many(14, 'finalizers', 'string'),
    many(17, 'managedFields', managedFields),
  ),
}

const secret = message(
  metadata,
  mapOf(2, 'data', 'bytes'),
  text(3, 'type'),
  mapOf(4, 'stringData', 'string'),
  maybe(5, 'immutable', 'bool'),
)

const lease = message(metadata, {
  n: 2,
  name: 'spec',
  type: message(
    maybe(1, 'holderIdentity', 'string'),
    maybe(2, 'leaseDurationSeconds', 'int'),
    maybe(3, 'acquireTime', time),
    maybe(4, 'renewTime', time),
    maybe(5, 'leaseTransitions', 'int'),
  ),
})

const taint = message(text(1, 'key'), text(2, 'value'), text(3, 'effect'), maybe(4, 'timeAdded', time))
const condition = message(
  text(1, 'type'),
  text(2, 'status'),
  { n: 3, name: 'lastHeartbeatTime', type: time },
  { n: 4, name: 'lastTransitionTime', type: time },
  text(5, 'reason'),
  text(6, 'message'),
)
const nodeInfo = message(
  text(1, 'machineID'),
  text(2, 'systemUUID'),
  text(3, 'bootID'),
  text(4, 'kernelVersion'),
  text(5, 'osImage'),
  text(6, 'containerRuntimeVersion'),
  text(7, 'kubeletVersion'),
  text(8, 'kubeProxyVersion'),
  text(9, 'operatingSystem'),
  text(10, 'architecture'),
)
const node = message(
  metadata,
  {
    n: 2,
    name: 'spec',
    type: message(
      text(1, 'podCIDR'),
      text(2, 'externalID'),
      text(3, 'providerID'),
      { n: 4, name: 'unschedulable', type: 'bool' },
      many(5, 'taints', taint),
      many(7, 'podCIDRs', 'string'),
    ),
  },
  {
    n: 3,
    name: 'status',
    type: message(
      mapOf(1, 'capacity', quantity),
      mapOf(2, 'allocatable', quantity),
      text(3, 'phase'),
      many(4, 'conditions', condition),
      many(5, 'addresses', message(text(1, 'type'), text(2, 'address'))),
      {
        n: 6,
        name: 'daemonEndpoints',
        type: message({ n: 1, name: 'kubeletEndpoint', type: message(int(1, 'Port')) }),
      },
      { n: 7, name: 'nodeInfo', type: nodeInfo },
      many(8, 'images', message(many(1, 'names', 'string'), int(2, 'sizeBytes'))),
    ),
  },
)

/** What stands around every object in the datastore. */
export const unknown = message(
  { n: 1, name: 'typeMeta', type: message(text(1, 'apiVersion'), text(2, 'kind')) },
  { n: 2, name: 'raw', type: 'bytes' },
  text(3, 'contentEncoding'),
  text(4, 'contentType'),
)

/** Kinds that are kept in protobuf, as in a real cluster. Others are kept as JSON here: nobody but the simulator reads them. */
export const kinds: Readonly<Record<string, Message>> = {
  'v1/Secret': secret,
  'v1/Node': node,
  'coordination.k8s.io/v1/Lease': lease,
}
