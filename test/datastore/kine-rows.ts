import { readFileSync } from 'node:fs'
import type { Sql } from 'postgres'
import { leasePrefix, nodePrefix } from '../../src/k3s/node-record.ts'

// A real K3s v1.36.3+k3s1's rows, by id.
const captured = new Map(
  readFileSync(new URL('../fixtures/k3s-v1.36.3/kine-rows.tsv', import.meta.url), 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split('\t'))
    .map(([id, , , , , , , value = '']) => [Number(id), Buffer.from(value, 'hex')]),
)
const row = (id: number) => captured.get(id) as Buffer

/** Values of a Node and of its Lease, as Kubernetes keeps them. */
export const values = { notReady: row(2862), ready: row(3068), unknown: row(3196), lease: row(3069) } as const

/** Writes a key as kine does: every change is a row. @returns its id */
export async function put(sql: Sql, name: string, value: Uint8Array | null, deleted = 0): Promise<string> {
  const [before] = await sql`select id, create_revision from kine where name = ${name} order by id desc limit 1`
  const [made] = await sql`
    insert into kine (name, created, deleted, create_revision, prev_revision, lease, value)
    values (${name}, ${before ? 0 : 1}, ${deleted}, ${before?.id ?? 0}, ${before?.id ?? 0}, 0, ${value as Uint8Array}) returning id`
  return (made as { id: string }).id
}

export const putNode = (sql: Sql, name: string, state: keyof typeof values) =>
  put(sql, nodePrefix + name, values[state])
export const renewLease = (sql: Sql, name: string) => put(sql, leasePrefix + name, values.lease)
export const deleteNode = (sql: Sql, name: string) => put(sql, nodePrefix + name, values.ready, 1)
