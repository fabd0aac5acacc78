/** A message as a table: field number → what it is. */
export type Message = {
  /** gogo-proto, as Kubernetes has it, writes plain scalars and messages even when they are empty; proto3, as etcd has it, never. */
  writesEmpty: boolean
  fields: readonly Field[]
}

export type Scalar = 'string' | 'bytes' | 'int' | 'bool'

export type Field = {
  n: number
  name: string
  type: Scalar | Message
  repeated?: boolean
  /** Keys are strings; `type` is that of the values. */
  map?: boolean
  /** A Go pointer: absent when undefined. */
  optional?: boolean
}

/** Values by name: strings, numbers, booleans, bytes, objects, arrays of these; a map is an object. */
export type Values = { [name: string]: unknown }

/** Bytes of a message. Fields come in the table's order, map keys sorted, as Go writes them. */
export function encode({ fields, writesEmpty }: Message, values: Values): Buffer {
  return Buffer.concat(fields.flatMap((field) => parts(field, values[field.name], writesEmpty)))
}

function parts(field: Field, value: unknown, writesEmpty: boolean): Buffer[] {
  const { type } = field
  if (field.map) {
    const entries = Object.entries((value ?? {}) as Values).sort(([a], [b]) => (a < b ? -1 : 1))
    const entry = entryOf(type)
    return entries.map(([key, item]) => tagged(field.n, 2, sized(encode(entry, { key, value: item }))))
  }
  if (field.repeated) return ((value ?? []) as unknown[]).map((item) => single(field.n, type, item))
  if (value === undefined || value === null) {
    return writesEmpty && !field.optional && type !== 'bytes' ? [single(field.n, type, empty(type))] : []
  }
  const isEmpty = value === '' || value === 0 || value === false || (type === 'bytes' && (value as Buffer).length === 0)
  return isEmpty && !writesEmpty && !field.optional ? [] : [single(field.n, type, value)]
}

function single(n: number, type: Field['type'], value: unknown): Buffer {
  switch (type) {
    case 'string':
      return tagged(n, 2, sized(Buffer.from(value as string)))
    case 'bytes':
      return tagged(n, 2, sized(Buffer.from(value as Uint8Array)))
    case 'int':
      return tagged(n, 0, varint(BigInt.asUintN(64, BigInt(value as number))))
    case 'bool':
      return tagged(n, 0, varint(value ? 1n : 0n))
    default:
      return tagged(n, 2, sized(encode(type, value as Values)))
  }
}

/** The values of a message. @throws Error on a field that the table does not know: nothing is lost silently */
export function decode(message: Message, bytes: Uint8Array): Values {
  const values: Values = {}
  const reader = new Reader(bytes)
  while (!reader.done) {
    const tag = Number(reader.varint())
    const field = message.fields.find(({ n }) => n === tag >> 3)
    if (!field) throw new Error(`no field ${tag >> 3} here`)
    const value = field.map ? decode(entryOf(field.type), reader.bytes()) : read(field.type, reader)
    if (field.map) {
      const { key, value: item } = value as { key: string; value: unknown }
      values[field.name] = { ...(values[field.name] as Values | undefined), [key]: item }
    } else if (field.repeated) {
      values[field.name] = [...((values[field.name] as unknown[] | undefined) ?? []), value]
    } else values[field.name] = value
  }
  return values
}

function read(type: Field['type'], reader: Reader): unknown {
  if (type === 'int') return Number(BigInt.asIntN(64, reader.varint()))
  if (type === 'bool') return reader.varint() !== 0n
  const bytes = reader.bytes()
  if (type === 'bytes') return bytes
  return type === 'string' ? bytes.toString() : decode(type, bytes)
}

const entryOf = (type: Field['type']): Message => ({
  writesEmpty: true,
  fields: [
    { n: 1, name: 'key', type: 'string' },
    { n: 2, name: 'value', type },
  ],
})

function empty(type: Field['type']): unknown {
  return type === 'string' ? '' : type === 'int' ? 0 : type === 'bool' ? false : {}
}

const tagged = (n: number, wire: number, rest: Buffer) => Buffer.concat([varint(BigInt((n << 3) | wire)), rest])
const sized = (bytes: Buffer) => Buffer.concat([varint(BigInt(bytes.length)), bytes])

function varint(value: bigint): Buffer {
  const bytes: number[] = []
  for (let rest = value; ; rest >>= 7n) {
    if (rest < 128n) return Buffer.from([...bytes, Number(rest)])
    bytes.push(Number(rest & 127n) | 128)
  }
}

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes)
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length
  }

  varint(): bigint {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) throw new Error('the message ends in the middle of a number')
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return value
    }
  }

  bytes(): Buffer {
    const length = Number(this.varint())
    const bytes = this.#bytes.subarray(this.#at, this.#at + length)
    if (bytes.length < length) throw new Error('the message ends in the middle of a field')
    this.#at += length
    return bytes
  }
}
