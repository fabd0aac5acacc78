import postgres, { type Sql } from 'postgres'
import type { ManagedDatastore } from '../../src/datastore/managed.ts'
import { connectObserver, type Observer, type ObserverOptions, openObserver } from '../../src/datastore/observer.ts'
import { tableGuard } from '../../src/datastore/table-guard.ts'
import {
  clustersDatabase,
  loginRole,
  observerRole,
  ownerRole,
  sharedLoginPassword,
} from '../../src/k3s/datastore-names.ts'
import type { Throwaway } from '../throwaway-postgres.ts'
import { key, managedOn, newCluster, newEnrollment, passwordOf } from './node.ts'

/** The clusters' datastore of a throwaway PostgreSQL, and sessions in it. */
export type Clusters = {
  managed: ManagedDatastore
  /** Sessions of the observer's apart from the datastore's own */
  observer: (change?: Partial<ObserverOptions>) => Observer
  /** What reads do where the guard should miss something: for so long it looks at nothing. */
  unguarded: <T>(work: () => Promise<T>) => Promise<T>
  /** Declares a cluster with one server. */
  add: (id?: string) => Promise<Cluster>
  close: () => Promise<void>
}

export type Cluster = {
  id: string
  schema: string
  /** That server's session, as a document's endpoint gives it: it may do to its schema what it likes */
  node: Sql
  url: string
}

/** The clusters' database, for the role of a URL of ours. */
export function inClusters(url: string): string {
  const inside = new URL(url)
  inside.pathname = `/${clustersDatabase}`
  return inside.href
}

export function makeClusters(server: Throwaway): Clusters {
  const managed = managedOn(server)
  const sessions: { end: (options: { timeout: number }) => Promise<void> }[] = []
  const observers: Observer[] = []
  const open = () => connectObserver({ url: server.url, connection: {} }, sharedLoginPassword(key, observerRole))
  return {
    managed,
    observer: (change = {}) => {
      const opened = openObserver({ connect: open, sessions: 1, ...change })
      observers.push(opened)
      return opened
    },
    unguarded: async (work) => {
      const own = postgres(inClusters(server.url), { max: 1, onnotice: () => {}, fetch_types: false })
      sessions.push(own)
      const [guard] = await own`select pg_get_functiondef(${`${tableGuard}(text, text)`}::regprocedure) as text`
      await own.unsafe(`create or replace function ${tableGuard}(owner text, reading text) returns text language plpgsql
        as $$ begin return reading; end $$`)
      try {
        return await work()
      } finally {
        await own.unsafe(guard?.text)
      }
    },
    add: async (id = newCluster()) => {
      const enrollment = newEnrollment()
      await managed.declare(id)
      await managed.makeLogin(id, enrollment, passwordOf(enrollment))
      const url = new URL(server.url)
      url.username = loginRole(enrollment)
      url.password = passwordOf(enrollment)
      url.pathname = `/${clustersDatabase}`
      const node = postgres(url.href, { max: 1, onnotice: () => {}, fetch_types: false })
      sessions.push(node)
      return { id, schema: ownerRole(id), node, url: url.href }
    },
    close: async () => {
      await Promise.all([
        managed.close(),
        ...observers.map((one) => one.close()),
        ...sessions.map((one) => one.end({ timeout: 1 })),
      ])
    },
  }
}

/** What kine makes (kine pkg/drivers/pgsql), its names unqualified. */
export const kineTable = `
create table kine (id bigserial primary key, name text collate "C", created integer, deleted integer, create_revision bigint,
  prev_revision bigint, lease integer, value bytea, old_value bytea);
create index kine_name_index on kine (name);
create index kine_name_id_index on kine (name, id);
create index kine_id_deleted_index on kine (id, deleted);
create index kine_prev_revision_index on kine (prev_revision);
create unique index kine_name_prev_revision_uindex on kine (name, prev_revision);
create index kine_list_query_index on kine (name, id desc, deleted);`
