import type { Readable } from 'node:stream'
import type { Finding } from './finding.ts'
import type { LockWatch } from './lock-watch.ts'
import type { Observer } from './observer.ts'

/** The row that K3s keeps its CA keys in (reference: K3s pkg/cluster/storage.go), as last committed. */
export type Bootstrap = { state: 'virgin' | 'locked' | 'ready'; value: Uint8Array | undefined }

/**
 * The clusters' PostgreSQL, as use cases see it. Every call is idempotent, opens its own short transaction in `rollcall_k3s`, and takes ids only:
 * names of schemas and roles are derived from them (k3s/datastore-names.ts).
 */
export type ManagedDatastore = {
  /** What documents name: `host[:port]`, several with commas. */
  readonly address: string
  /** PEM of the authority that vouches for it. */
  readonly ca: string
  /** For reads under the guard (guard.ts), and nothing else. */
  readonly observer: Observer
  /** Who holds too many of Postgres' locks is ended at each look. */
  readonly locks: LockWatch
  /**
   * What all clusters share is there: database, group of nodes, observer. Made at the first call of a process.
   * @throws Unusable with a sentence for the admin, e.g. if our role lacks CREATEROLE
   */
  ready: () => Promise<void>
  /**
   * TLS to the address and a login, as nodes will do it, and room for their connections.
   * @param serverNodes of all managed clusters, those to come included
   * @throws AppError `invalid` at `datastore.kind`, with plain words for what is wrong
   */
  check: (serverNodes: number) => Promise<void>
  /** What is not as it should be, and no reason to refuse a cluster. */
  warnings: () => Promise<Finding[]>
  /** Makes a cluster's schema and its owner role. */
  declare: (clusterId: string) => Promise<void>
  /** Makes a node's login, or makes it good again with this password. */
  makeLogin: (clusterId: string, enrollmentId: string, password: string) => Promise<void>
  /** NOLOGIN, committed; then its sessions end. When it returns, that node writes nothing any more. */
  fenceLogin: (enrollmentId: string) => Promise<void>
  /** Fences, hands over what it owns, and drops the role. */
  dropLogin: (clusterId: string, enrollmentId: string) => Promise<void>
  /**
   * Reads the bootstrap row under the guard (reference/k3s.md §9).
   * @throws AppError `state_conflict` with detail `datastore_tampered: …` if the table is not what K3s makes
   */
  readBootstrap: (clusterId: string, serverToken: string) => Promise<Bootstrap>
  /** Drops a cluster's schema with all its rows, and its owner. */
  purge: (clusterId: string) => Promise<void>
  /**
   * Copies all rows of a cluster's table, as of one moment, under the guard.
   * @param use takes them as COPY's text format has them
   * @throws AppError `state_conflict` if there is no table, or none of K3s
   */
  copyOut: (clusterId: string, use: (rows: Readable) => Promise<void>) => Promise<void>
  /**
   * Makes a cluster's table and fills it: all of it or nothing.
   * @param replace drop what is there; else a table that is there is refused
   * @throws AppError `state_conflict`; what `rows` throws
   */
  copyIn: (clusterId: string, rows: AsyncIterable<Uint8Array>, replace: boolean) => Promise<void>
  close: () => Promise<void>
}
