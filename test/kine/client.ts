import { Grpc, type Tls } from './grpc.ts'
import { decode, encode, type Field, type Message, type Values } from './protobuf.ts'

// etcd's rpc.proto and kv.proto, as much of them as kine understands (kine pkg/server: create, update, delete, get, list).
const message = (...fields: Field[]): Message => ({ writesEmpty: false, fields })

const header = message(
  { n: 1, name: 'clusterId', type: 'int' },
  { n: 2, name: 'memberId', type: 'int' },
  { n: 3, name: 'revision', type: 'int' },
  { n: 4, name: 'raftTerm', type: 'int' },
)
const keyValue = message(
  { n: 1, name: 'key', type: 'string' },
  { n: 2, name: 'createRevision', type: 'int' },
  { n: 3, name: 'modRevision', type: 'int' },
  { n: 4, name: 'version', type: 'int' },
  { n: 5, name: 'value', type: 'bytes' },
  { n: 6, name: 'lease', type: 'int' },
)
const rangeRequest = message(
  { n: 1, name: 'key', type: 'string' },
  { n: 2, name: 'rangeEnd', type: 'bytes' },
  { n: 3, name: 'limit', type: 'int' },
)
const rangeResponse = message(
  { n: 1, name: 'header', type: header },
  { n: 2, name: 'kvs', type: keyValue, repeated: true },
  { n: 3, name: 'more', type: 'bool' },
  { n: 4, name: 'count', type: 'int' },
)
const putRequest = message({ n: 1, name: 'key', type: 'string' }, { n: 2, name: 'value', type: 'bytes' })
const deleteRequest = message({ n: 1, name: 'key', type: 'string' })
const putResponse = message({ n: 1, name: 'header', type: header }, { n: 2, name: 'prev', type: keyValue })
const deleteResponse = message(
  { n: 1, name: 'header', type: header },
  { n: 2, name: 'deleted', type: 'int' },
  { n: 3, name: 'prev', type: keyValue, repeated: true },
)
const request = message(
  { n: 1, name: 'range', type: rangeRequest },
  { n: 2, name: 'put', type: putRequest },
  { n: 3, name: 'delete', type: deleteRequest },
)
const response = message(
  { n: 1, name: 'range', type: rangeResponse },
  { n: 2, name: 'put', type: putResponse },
  { n: 3, name: 'delete', type: deleteResponse },
)
// target 2 is the revision of the last change; result 0, equal, is what proto3 leaves out.
const compare = message(
  { n: 2, name: 'target', type: 'int' },
  { n: 3, name: 'key', type: 'string' },
  { n: 6, name: 'modRevision', type: 'int', optional: true },
)
const transaction = message(
  { n: 1, name: 'compare', type: compare, repeated: true },
  { n: 2, name: 'success', type: request, repeated: true },
  { n: 3, name: 'failure', type: request, repeated: true },
)
const transactionResponse = message(
  { n: 1, name: 'header', type: header },
  { n: 2, name: 'succeeded', type: 'bool' },
  { n: 3, name: 'responses', type: response, repeated: true },
)

/** A key as the store has it; `revision` is that of its last change. */
export type Row = { key: string; value: Buffer; revision: number; createRevision: number }

/** The etcd v3 calls that K3s makes of kine; etcd itself answers them too. */
export class KeyValueClient {
  readonly #grpc: Grpc

  /** @param address `unix:///path`, `http://host:port` or `https://host:port` */
  constructor(address: string, tls?: Tls) {
    this.#grpc = new Grpc(address, tls)
  }

  async get(key: string): Promise<Row | undefined> {
    const { kvs } = await this.#call('KV/Range', rangeRequest, rangeResponse, { key, limit: 1 })
    return rows(kvs)[0]
  }

  /** All keys below `prefix`, which ends with a slash. */
  async list(prefix: string): Promise<Row[]> {
    const end = Buffer.from(prefix)
    end[end.length - 1] = (end.at(-1) ?? 0) + 1
    return rows((await this.#call('KV/Range', rangeRequest, rangeResponse, { key: prefix, rangeEnd: end })).kvs)
  }

  /** @returns the revision, or undefined if the key exists */
  create(key: string, value: Uint8Array): Promise<number | undefined> {
    return this.#transaction(key, 0, [{ put: { key, value } }], [])
  }

  /** @returns the new revision, or undefined if the key changed since `revision` */
  update(key: string, value: Uint8Array, revision: number): Promise<number | undefined> {
    return this.#transaction(key, revision, [{ put: { key, value } }], [{ range: { key } }])
  }

  /** @returns whether it was still as of `revision`, and is gone */
  async delete(key: string, revision: number): Promise<boolean> {
    return (await this.#transaction(key, revision, [{ delete: { key } }], [{ range: { key } }])) !== undefined
  }

  close(): void {
    this.#grpc.close()
  }

  async #transaction(key: string, modRevision: number, success: Values[], failure: Values[]) {
    const compare = [{ target: 2, key, modRevision }]
    const answer = await this.#call('KV/Txn', transaction, transactionResponse, { compare, success, failure })
    return answer.succeeded ? (answer.header as { revision: number }).revision : undefined
  }

  async #call(method: string, ask: Message, answer: Message, values: Values): Promise<Values> {
    return decode(answer, await this.#grpc.call(`/etcdserverpb.${method}`, encode(ask, values)))
  }
}

const rows = (kvs: unknown): Row[] =>
  ((kvs ?? []) as { key: string; value?: Buffer; modRevision: number; createRevision: number }[]).map((one) => ({
    key: one.key,
    value: one.value ?? Buffer.alloc(0),
    revision: one.modRevision,
    createRevision: one.createRevision,
  }))
