import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres, { type Sql } from 'postgres'
import { leasePrefix, nodePrefix, readRenewTime } from '../../src/k3s/node-record.ts'
import { kineTable } from '../datastore/clusters.ts'
import { bootstrapKey, type ClusterFiles, makeClusterFiles, sealFiles } from '../fakes/k3s/bootstrap.ts'
import type { FleetBox } from './fleet-box.ts'

/** Milliseconds until a played K3s is up. */
const k3s = { first: 3_000, server: 1_500, agent: 1_000 } as const

// What a real K3s v1.36.3 kept of a Node and its Lease.
const rows = new Map(
  readFileSync(new URL('../fixtures/k3s-v1.36.3/kine-rows.tsv', import.meta.url), 'utf8')
    .split('\n')
    .map((line) => line.split('\t'))
    .map(([id = '', , , , , , , value = '']) => [id, Buffer.from(value, 'hex')]),
)

const readyNode = rows.get('3068') as Buffer
const lease = rows.get('3069') as Buffer

/** With its time of renewal, a protobuf varint. */
function leaseOf(now: number): Buffer {
  const bytes = Buffer.from(lease)
  varint(now).copy(bytes, bytes.lastIndexOf(varint(readRenewTime(lease) as number)))
  return bytes
}

const varint = (value: number) =>
  Buffer.from([0, 1, 2, 3, 4].map((i) => (Math.floor(value / 128 ** i) % 128) + (i < 4 ? 128 : 0)))

/** The cluster as its servers write it into the datastore, over the login that their document and their token give them. */
export class FleetCluster {
  readonly #version: string
  readonly #names: string[] = []
  #sql: Sql | undefined
  #files: ClusterFiles | undefined

  /** @param version of K3s, as its Nodes say it */
  constructor(version: string) {
    this.#version = version
  }

  readonly startK3s = async (box: FleetBox): Promise<void> => {
    if (box.role === 'server' && !this.#sql) await this.#begin(box)
    else await sleep(k3s[box.role])
    this.#names.push(box.hostname)
    await this.#insert(nodePrefix + box.hostname, readyNode)
    await this.#insert(leasePrefix + box.hostname, leaseOf(Math.floor(Date.now() / 1_000)))
  }

  readonly nodes = (): string => {
    const ca_hash = createHash('sha256')
      .update(this.#files?.ServerCA ?? '')
      .digest('hex')
    const nodes = this.#names.map((name) => ({ name, ready: true, version: this.#version }))
    return JSON.stringify({ ca_hash, nodes, pods_not_running: 0 })
  }

  async end(): Promise<void> {
    await this.#sql?.end({ timeout: 1 })
  }

  /** The first server makes the table and what all of them share. */
  async #begin(box: FleetBox): Promise<void> {
    const url = new URL(box.file('/etc/rancher/k3s/config.yaml', 'datastore-endpoint'))
    url.search = ''
    const ca = box.file('/etc/rancher/k3s/datastore-ca.pem')
    this.#sql = postgres(url.href, { max: 1, onnotice: () => {}, ssl: { ca, servername: '' } })
    await this.#sql.unsafe(kineTable)
    const token = box.file('/etc/rancher/k3s/token')
    await this.#insert(bootstrapKey(token), Buffer.alloc(0))
    this.#files = await makeClusterFiles(token)
    await sleep(k3s.first)
    await this
      .#sql`update kine set value = ${sealFiles(token, this.#files, new Date())} where name = ${bootstrapKey(token)}`
  }

  async #insert(name: string, value: Buffer): Promise<void> {
    if (this.#sql)
      await this.#sql`insert into kine (name, created, deleted, create_revision, prev_revision, lease, value)
      values (${name}, 1, 0, 0, 0, 0, ${value})`
  }
}
