import { randomBytes } from 'node:crypto'
import postgres, { type Sql } from 'postgres'
import { readKine } from '../../src/datastore/guard.ts'
import type { ManagedDatastore } from '../../src/datastore/managed.ts'
import { openManaged } from '../../src/datastore/open.ts'
import { newId } from '../../src/ids.ts'
import { loginPassword, loginRole } from '../../src/k3s/datastore-names.ts'
import type { Throwaway } from '../throwaway-postgres.ts'

export const key = new Uint8Array(32).fill(8)
export const newCluster = () => newId('clu', 1_795_396_247, randomBytes(12))
export const newEnrollment = () => newId('enr', 1_795_396_247, randomBytes(12))
export const passwordOf = (enrollment: string) => loginPassword(key, enrollment)

/** The clusters' datastore on a server of the test's own. */
export const managedOn = (
  server: Throwaway,
  change: { url?: string; address?: string; ca?: string; secure?: () => Promise<void> } = {},
) =>
  openManaged({
    server: { url: change.url ?? server.url, connection: {} },
    address: change.address ?? `localhost:${server.port}`,
    ca: change.ca ?? server.ca,
    key,
    rollConnections: 12,
    secure: change.secure,
  })

export type NodeOptions = {
  database?: string
  user?: string
  password?: string
  max?: number
  as?: Record<string, string>
}

/** A server node's session, as kine opens one. */
export function nodeSession(server: Throwaway, enrollment: string, options: NodeOptions = {}): Sql {
  return postgres({
    host: '127.0.0.1',
    port: server.port,
    ssl: { ca: server.ca, servername: 'localhost' } as never,
    user: options.user ?? loginRole(enrollment),
    password: options.password ?? passwordOf(enrollment),
    database: options.database ?? 'rollcall_k3s',
    max: options.max ?? 1,
    connect_timeout: 5,
    fetch_types: false,
    onnotice: () => {},
    ...(options.as ? { connection: options.as } : {}),
  })
}

/** Names in a cluster's table, as the roll reads them. */
export async function namesIn(managed: ManagedDatastore, cluster: string): Promise<string[] | string> {
  const text = (table: string) => `select name::text from only ${table} order by id`
  const read = await readKine<{ name: string }>(managed.observer, cluster, { columns: 'name text', text })
  return read.kind === 'rows' ? read.rows.map(({ name }) => name) : read.kind
}

/** K3s' own table (fixtures/k3s-v1.36.3/kine-table.txt). */
export const kineTable = `create table kine (id bigserial primary key, name text collate "C", created integer, deleted integer,
  create_revision bigint, prev_revision bigint, lease integer, value bytea, old_value bytea)`

/** The SQLSTATE that a statement is refused with; undefined if it is not. */
export async function refusal(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work
    return undefined
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}
