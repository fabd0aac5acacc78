import { decode, encode, type Field, type Message, type Values } from '../../kine/protobuf.ts'
import { fieldsV1, kinds, quantity, time, unknown } from './object-schema.ts'

/** An object of the Kubernetes API, as its JSON says it. */
export type Json = {
  apiVersion: string
  kind: string
  metadata: {
    name: string
    namespace?: string
    uid?: string
    resourceVersion?: string
    creationTimestamp?: string
    labels?: Record<string, string>
    annotations?: Record<string, string>
    ownerReferences?: { kind: string; name: string; uid: string; apiVersion: string }[]
    managedFields?: unknown
  }
  // biome-ignore lint/suspicious/noExplicitAny: any object there is
  [member: string]: any
}

const magic = Buffer.from('k8s\0')

/** What the datastore holds of an object. */
export function toRow({ apiVersion, kind, ...rest }: Json): Buffer {
  const schema = kinds[`${apiVersion}/${kind}`]
  const raw = schema ? encode(schema, fromJson(schema, rest)) : Buffer.from(JSON.stringify(rest))
  const contentType = schema ? '' : 'application/json'
  return Buffer.concat([magic, encode(unknown, { typeMeta: { apiVersion, kind }, raw, contentType })])
}

/** The object in a row. @throws Error if it is none, or has a field that the schema does not know */
export function fromRow(row: Buffer): Json {
  if (!row.subarray(0, 4).equals(magic)) throw new Error('no object of Kubernetes')
  const { typeMeta, raw } = decode(unknown, row.subarray(4)) as {
    typeMeta: { apiVersion: string; kind: string }
    raw: Buffer
  }
  const schema = kinds[`${typeMeta.apiVersion}/${typeMeta.kind}`]
  const rest = schema ? toJson(schema, decode(schema, raw)) : JSON.parse(raw.toString())
  return { ...typeMeta, ...(rest as object) } as Json
}

function fromJson(schema: Message, json: unknown): Values {
  if (schema === time) return timeOf(json as string)
  if (schema === quantity) return { string: json }
  if (schema === fieldsV1) return { raw: Buffer.from(JSON.stringify(json)) }
  const given = (json ?? {}) as Values
  return Object.fromEntries(schema.fields.map((field) => [field.name, each(field, given[field.name], valueFromJson)]))
}

function toJson(schema: Message, values: Values): unknown {
  if (schema === time) return textOf(values as Time)
  if (schema === quantity) return values.string
  if (schema === fieldsV1) return JSON.parse((values.raw as Buffer).toString())
  const members = schema.fields.map((field) => [field.name, each(field, values[field.name], valueToJson)] as const)
  // What is empty is left out, as Kubernetes' JSON does for all but a few.
  return Object.fromEntries(members.filter(([, value]) => !isEmpty(value)))
}

function each(field: Field, value: unknown, one: (field: Field, value: unknown) => unknown): unknown {
  if (value === undefined || value === null) return undefined
  if (field.repeated) return (value as unknown[]).map((item) => one(field, item))
  if (!field.map) return one(field, value)
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, one(field, item)]))
}

function valueFromJson({ type }: Field, value: unknown): unknown {
  if (type === 'bytes') return Buffer.from(value as string, 'base64')
  return typeof type === 'string' ? value : fromJson(type, value)
}

function valueToJson({ type }: Field, value: unknown): unknown {
  if (type === 'bytes') return (value as Buffer).toString('base64')
  return typeof type === 'string' ? value : toJson(type, value as Values)
}

const isEmpty = (value: unknown) =>
  value === undefined ||
  value === '' ||
  value === 0 ||
  value === false ||
  (isPlain(value) && Object.keys(value).length === 0)

const isPlain = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

type Time = { seconds: number; nanos: number }

function timeOf(text: string): Time {
  const nanos = Number(`0.${/\.(\d+)/.exec(text)?.[1] ?? '0'}`) * 1e9
  return { seconds: Math.floor(Date.parse(text) / 1000), nanos: Math.round(nanos) }
}

function textOf({ seconds, nanos }: Time): string {
  const whole = new Date(seconds * 1000).toISOString().slice(0, 19)
  return nanos ? `${whole}.${String(Math.floor(nanos / 1000)).padStart(6, '0')}Z` : `${whole}Z`
}
