import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import postgres, { type Sql } from 'postgres'
import { openManaged } from '../../src/datastore/open.ts'
import { bootstrapName } from '../../src/k3s/bootstrap.ts'
import { clustersDatabase, ownerRole } from '../../src/k3s/datastore-names.ts'
import { leasePrefix, nodePrefix } from '../../src/k3s/node-record.ts'
import { migrate } from '../../src/store/migrate.ts'
import type { Vault } from '../../src/store/vault.ts'
import { kineTable } from '../datastore/clusters.ts'
import type { Connection } from './programs.ts'

export type Size = { clusters: number; nodes: number }

export const key = new Uint8Array(32).fill(9)
const token = 'f0'.repeat(32)
const idOf = (n: number) => `clu_${String(n).padStart(26, '0')}`
const nameOf = (cluster: number, node: number) => `bench-${cluster}-${node}`

// Real values; Nodes of real clusters are larger, by the list of their images.
const rows = new Map(
  readFileSync(new URL('../fixtures/k3s-v1.36.3/kine-rows.tsv', import.meta.url), 'utf8')
    .split('\n')
    .map((line) => line.split('\t'))
    .map(([id = '', , , , , , , value = '']) => [id, Buffer.from(value, 'hex')]),
)
const ready = Buffer.concat([rows.get('3068') as Buffer, images(6_000)])
const lease = rows.get('3069') as Buffer

export const managedAt = (connection: Connection) =>
  openManaged({
    server: { url: 'postgres://localhost/observed', connection },
    address: 'localhost',
    ca: '',
    key,
    rollConnections: 0,
  })

/** A roll with so many managed clusters, all up, and their tables as K3s leaves them. */
export async function makeObserved(base: Connection, size: Size, vault: Vault, say: (text: string) => void) {
  const own = open(base, base.database as string)
  await own.unsafe('create database observed')
  await own.end()
  const connection = { ...base, database: 'observed' }
  await migrate('postgres://localhost', connection)
  const roll = open(connection, 'observed')
  await fillRoll(roll, size, vault)
  await roll.end()
  const managed = managedAt(connection)
  const inside = open(base, clustersDatabase)
  for (let n = 0; n < size.clusters; n++) {
    await managed.declare(idOf(n))
    await inside.begin((tx) => fillTable(tx as never, n, size.nodes))
    if (n % 100 === 99) say(`${n + 1} clusters`)
  }
  await inside.unsafe('vacuum analyze').catch(() => {})
  await managed.close()
  return {
    connection,
    renew: (n: number) => renewLeases(inside, n, size.nodes),
    close: () => inside.end(),
    writer: await pidOf(inside),
  }
}

const open = (connection: Connection, database: string) =>
  postgres('postgres://localhost', { ...connection, database, max: 1, onnotice: () => {}, fetch_types: false })

const pidOf = async (sql: Sql) => ((await sql`select pg_backend_pid() as pid`)[0] as { pid: number }).pid

async function fillRoll(sql: Sql, { clusters, nodes }: Size, vault: Vault): Promise<void> {
  await sql`insert into profiles (id, name, revision, created_at, updated_at) values ('prf_bench', 'edge', 1, now(), now())`
  for (let n = 0; n < clusters; n++) {
    const id = idOf(n)
    await sql`insert into clusters (id, name, k3s_version, api_endpoint, ca_hash, allow_unpinned, datastore_kind, datastore_sealed,
        server_token_sealed, state, ca_hash_confirmed_at, ca_hash_from, bootstrap, created_at, updated_at)
      values (${id}, ${`site-${n}`}, 'v1.36.3+k3s1', 'https://api.bench.example:6443', ${'ab'.repeat(32)}, true, 'managed',
        ${vault.seal(`clusters/${id}/datastore`, '{"kind":"managed"}')}, ${vault.seal(`clusters/${id}/server_token`, token)}, 'up',
        now(), 'datastore', 'ready', now(), now())`
  }
  await sql`insert into devices (id, serial, serial_key, profile_id, cluster_id, hostname, state, state_since, created_at, updated_at)
    select 'dev_' || name, name, name, 'prf_bench', 'clu_' || lpad(c::text, 26, '0'), name, 'ready', now(), now(), now()
    from generate_series(0, ${clusters}::int - 1) c, generate_series(0, ${nodes}::int - 1) n, lateral (select 'bench-' || c || '-' || n as name) x`
  await sql`insert into enrollments (id, device_id, cluster_id, profile_id, profile_revision, role, hostname, assurance, claim_hash, created_at,
      document_type, document_digest, join_hash, join_expires_at, report_hash, report_expires_at, applied_at, joined_at, ready_at, observed)
    select 'enr_' || id, id, cluster_id, 'prf_bench', 1, 'agent', hostname, 'key', sha256(id::bytea), now() - interval '1 hour', 'text/cloud-config', '',
      sha256(id::bytea), now(), sha256(id::bytea), now(), now(), now(), now(), true from devices`
  await sql`vacuum analyze`
}

async function fillTable(sql: Sql, n: number, nodes: number): Promise<void> {
  const schema = ownerRole(idOf(n))
  await sql.unsafe(`set local role ${schema}; set local search_path = ${schema}; ${kineTable}`)
  const names = JSON.stringify(Array.from({ length: nodes }, (_, i) => nameOf(n, i)))
  await sql`insert into kine (name, created, deleted, create_revision, prev_revision, lease, value)
    select ${nodePrefix} || name, 1, 0, 0, r * -1000000, 0, ${ready} from json_array_elements_text(${names}::text::json) name, generate_series(1, 3) r`
  await sql`insert into kine (name, created, deleted, create_revision, prev_revision, lease, value)
    select ${leasePrefix} || name, 1, 0, 0, r * -1000000, 0, ${lease} from json_array_elements_text(${names}::text::json) name, generate_series(1, 30) r`
  await sql`insert into kine (name, created, deleted, create_revision, prev_revision, lease, value)
    values (${bootstrapName(token)}, 1, 0, 0, 0, 0, ${Buffer.from(`aabb:${randomBytes(9_000).toString('base64')}`)})`
}

/** What a cluster's kubelets write every ten seconds; every thirtieth time their Node as well. */
async function renewLeases(sql: Sql, n: number, nodes: number): Promise<void> {
  const names = Array.from({ length: nodes }, (_, i) => nameOf(n, i))
  const table = `${ownerRole(idOf(n))}.kine`
  const whole = Math.random() < 1 / 30
  const value = (part: Buffer) => `'\\x${part.toString('hex')}'`
  const list = `(values ${names.map((name) => `('${name}')`).join(',')}) as n(name)`
  const insert = `insert into ${table} (name, created, deleted, create_revision, prev_revision, lease, value) select`
  await sql.unsafe(
    `${insert} '${leasePrefix}' || name, 0, 0, 0, -(random() * 1e12)::bigint, 0, ${value(lease)} from ${list}`,
  )
  if (whole)
    await sql.unsafe(
      `${insert} '${nodePrefix}' || name, 0, 0, 0, -(random() * 1e12)::bigint, 0, ${value(ready)} from ${list}`,
    )
}

/** A field that Nodes do not have, as long as what they have beside: not to be compressed away. */
function images(length: number): Buffer {
  const bytes = randomBytes(length)
  return Buffer.concat([Buffer.from([0x9a, 0x06, (length & 0x7f) | 0x80, length >> 7]), bytes])
}
