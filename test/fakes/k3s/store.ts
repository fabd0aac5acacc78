import { randomUUID } from 'node:crypto'
import type { KeyValueClient, Row } from '../../kine/client.ts'
import { fromRow, type Json, toRow } from './objects.ts'

/** A refusal in the words of the Kubernetes API. */
export class ApiError extends Error {
  readonly code: number
  readonly reason: string

  constructor(code: number, reason: string, message: string) {
    super(message)
    this.code = code
    this.reason = reason
  }
}

/** A kind of object: where its rows are, and what its refusals call it. */
export type Resource = {
  group: string
  version: string
  plural: string
  kind: string
  namespaced: boolean
  shortNames?: readonly string[]
  /** Below /registry, if not the plural */
  folder?: string
}

/** Objects in the datastore. */
export class ObjectStore {
  readonly client: KeyValueClient

  constructor(client: KeyValueClient) {
    this.client = client
  }

  async get(resource: Resource, name: string, namespace?: string): Promise<Json | undefined> {
    const row = await this.client.get(keyOf(resource, name, namespace))
    return row && objectOf(row)
  }

  /** In one namespace, or in all. */
  async list(resource: Resource, namespace?: string): Promise<Json[]> {
    const rows = await this.client.list(folderOf(resource, namespace))
    return rows.map(objectOf)
  }

  /** @throws ApiError 409 if it exists */
  async create(resource: Resource, given: Json): Promise<Json> {
    const object = {
      ...given,
      metadata: { ...given.metadata, uid: randomUUID(), creationTimestamp: new Date().toISOString() },
    }
    const key = keyOf(resource, object.metadata.name, object.metadata.namespace)
    const revision = await this.client.create(key, toRow(stored(object)))
    if (revision === undefined)
      throw new ApiError(409, 'AlreadyExists', `${label(resource, object.metadata.name)} already exists`)
    return withRevision(object, revision)
  }

  /**
   * Changes an object, again and again until nobody else did in between.
   * @returns undefined if it is not there
   * @throws ApiError 409 if the change names a resourceVersion that is no more
   */
  async change(
    resource: Resource,
    name: string,
    namespace: string | undefined,
    change: (object: Json) => Json,
  ): Promise<Json | undefined> {
    for (;;) {
      const before = await this.get(resource, name, namespace)
      if (!before) return undefined
      const after = change(before)
      const wanted = after.metadata.resourceVersion
      if (wanted !== undefined && wanted !== before.metadata.resourceVersion)
        throw new ApiError(409, 'Conflict', `${label(resource, name)}: the object has been modified`)
      const object = { ...after, metadata: { ...after.metadata, uid: before.metadata.uid as string } }
      const revision = await this.client.update(
        keyOf(resource, name, namespace),
        toRow(stored(object)),
        Number(before.metadata.resourceVersion),
      )
      if (revision !== undefined) return withRevision(object, revision)
    }
  }

  /** @returns what was deleted */
  async delete(resource: Resource, name: string, namespace?: string): Promise<Json | undefined> {
    for (;;) {
      const object = await this.get(resource, name, namespace)
      if (!object) return undefined
      if (await this.client.delete(keyOf(resource, name, namespace), Number(object.metadata.resourceVersion)))
        return object
    }
  }
}

/** `secrets "a"`, as refusals name it. */
export const label = ({ plural, group }: Resource, name: string): string => `${plural}${group && `.${group}`} "${name}"`

const folderOf = ({ plural, folder = plural, namespaced }: Resource, namespace?: string) =>
  `/registry/${folder}/${namespaced && namespace ? `${namespace}/` : ''}`
const keyOf = (resource: Resource, name: string, namespace?: string) => `${folderOf(resource, namespace)}${name}`

const objectOf = (row: Row) => withRevision(fromRow(row.value), row.revision)

function withRevision(object: Json, revision: number): Json {
  return { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } }
}

// The revision is the row's, so it never stands in the row.
function stored({ metadata: { resourceVersion: _, ...metadata }, ...rest }: Json): Json {
  return { ...rest, metadata } as Json
}
