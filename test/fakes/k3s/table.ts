import type { Json } from './objects.ts'
import { nodes, pods } from './resources.ts'
import type { Resource } from './store.ts'

type Column = readonly [name: string, cell: (object: Json) => string]
type Condition = { type: string; status: string }

const age: Column = [
  'Age',
  ({ metadata }) => `${Math.floor((Date.now() - Date.parse(metadata.creationTimestamp ?? '')) / 1000)}s`,
]

const columns: Readonly<Record<string, readonly Column[]>> = {
  [nodes.kind]: [
    ['Name', ({ metadata }) => metadata.name],
    ['Status', ({ status }) => (isReady(status) ? 'Ready' : 'NotReady')],
    [
      'Roles',
      ({ metadata }) => (metadata.labels?.['node-role.kubernetes.io/control-plane'] ? 'control-plane' : '<none>'),
    ],
    age,
    ['Version', ({ status }) => status?.nodeInfo?.kubeletVersion ?? ''],
  ],
  [pods.kind]: [
    ['Name', ({ metadata }) => metadata.name],
    ['Ready', () => '1/1'],
    ['Status', ({ status }) => status?.phase ?? 'Pending'],
    ['Restarts', () => '0'],
    age,
  ],
}
const plainColumns: readonly Column[] = [['Name', ({ metadata }) => metadata.name], age]

/** What kubectl prints without `-o`: the server lays out the columns. */
export function tableOf(resource: Resource, objects: readonly Json[]) {
  const own = columns[resource.kind] ?? plainColumns
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: {},
    columnDefinitions: own.map(([name]) => ({ name, type: 'string', format: '', description: '', priority: 0 })),
    rows: objects.map((object) => ({
      cells: own.map(([, cell]) => cell(object)),
      object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata },
    })),
  }
}

const isReady = (status?: { conditions?: Condition[] }) =>
  status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True')
