import { isIP } from 'node:net'
import type { Sql } from 'postgres'
import { type DatastoreHost, parseDatastoreAddress } from '../k3s/datastore-address.ts'
import { openAdvisoryLocks } from '../postgres/advisory-locks.ts'
import { type Finding, warning } from './finding.ts'

/**
 * What is not as it should be with the clusters' PostgreSQL, and no reason to refuse a cluster.
 * @param sql our own role in the clusters' database
 */
export async function managedWarnings(sql: Sql, address: string): Promise<Finding[]> {
  const open = await openAdvisoryLocks(sql)
  const [row] = await sql<{ prepared: number }[]>`select current_setting('max_prepared_transactions')::int as prepared`
  return [
    ...loopbackWarnings(address),
    ...(open.length > 0 ? [warning('advisory_locks', words.advisoryLocks)] : []),
    ...((row?.prepared ?? 0) > 0 ? [warning('prepared_transactions', words.prepared)] : []),
  ]
}

/** Whether nodes on other machines are told to look for it on themselves; right only where server and nodes are one machine. */
export function loopbackWarnings(address: string): Finding[] {
  const hosts = parseDatastoreAddress(address)
  if (typeof hosts === 'string') return []
  return hosts.filter(isLoopback).map(({ host }) => warning('loopback_address', words.loopback(host)))
}

function isLoopback({ host }: DatastoreHost): boolean {
  if (isIP(host) === 4) return host.startsWith('127.')
  return host === '::1' || /^(?:.*\.)?localhost\.?$/i.test(host)
}

const words = {
  loopback: (host: string) =>
    `ROLLCALL_DATASTORE_ADDRESS names ${host}, which is the node itself to each node: only nodes on this very machine reach it`,
  advisoryLocks:
    'its nodes may take advisory locks, by which one of them can fill the lock table of the whole PostgreSQL in a second: have a superuser revoke them (docs/operations.md, "Locks")',
  prepared:
    'max_prepared_transactions is not 0: a node may leave a prepared transaction whose locks outlive its login: set it to 0, which is the default',
}
