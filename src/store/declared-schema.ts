// What admins declare: how devices are provisioned, and what they become part of.
import { sql } from 'drizzle-orm'
import { boolean, check, integer, jsonb, pgTable, primaryKey, text, uniqueIndex } from 'drizzle-orm/pg-core'
import type { ProfileSpec } from '../documents/profile.ts'
import { at, bytea } from './columns.ts'

export const profiles = pgTable(
  'profiles',
  {
    id: text().primaryKey(),
    name: text().notNull(),
    revision: integer().notNull(),
    createdAt: at().notNull(),
    updatedAt: at().notNull(),
    deletedAt: at(),
  },
  (t) => [uniqueIndex('profiles_live_name').on(t.name).where(sql`${t.deletedAt} is null`)],
)

/** Never updated: an enrollment says for ever which revision it was rendered from. */
export const profileRevisions = pgTable(
  'profile_revisions',
  {
    profileId: text()
      .notNull()
      .references(() => profiles.id),
    revision: integer().notNull(),
    spec: jsonb().$type<ProfileSpec>().notNull(),
    createdAt: at().notNull(),
    createdBy: text().notNull(),
  },
  (t) => [primaryKey({ columns: [t.profileId, t.revision] })],
)

export const versions = pgTable('versions', {
  version: text().primaryKey(),
  artifacts: jsonb().$type<Record<string, { sha256: string }>>().notNull(),
  installScript: jsonb().$type<{ sha256: string }>().notNull(),
  /** Further files that nodes of this version may be given, by name: image archives, packages. */
  files: jsonb().$type<Record<string, { sha256: string }>>().notNull().default({}),
  createdAt: at().notNull(),
})

export const clusters = pgTable(
  'clusters',
  {
    id: text().primaryKey(),
    name: text().notNull(),
    k3sVersion: text().notNull(),
    apiEndpoint: text(),
    caHash: text(),
    allowUnpinned: boolean().notNull().default(false),
    allowWeakServers: boolean().notNull().default(false),
    datastoreKind: text().notNull(),
    /** Sealed JSON of the whole `datastore` object. */
    datastoreSealed: bytea().notNull(),
    tlsSans: text().array().notNull().default([]),
    settings: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    serverTokenSealed: bytea().notNull(),
    state: text().notNull().default('virgin'),
    stateSince: at().notNull().default(sql`now()`),
    /** Why it is `stuck`, in words for the admin. */
    stuckReason: text(),
    /** The device that goes first, until the cluster is up (DESIGN.md, "K3s rules"). */
    initializerDeviceId: text(),
    initializerUntil: at(),
    /** Who said the CA hash first: `admin`, `datastore`, or the device. A second server confirms it. */
    caHashFrom: text(),
    caHashConfirmedAt: at(),
    /** Managed: what its bootstrap row was last seen to be: virgin, locked, ready. */
    bootstrap: text(),
    /** When the cluster was last read or reported, and what kept it from being read. */
    observedAt: at(),
    observeTrouble: text(),
    /** Managed: when a server of ours looks at it next; whoever does moves it on. */
    observeAfter: at(),
    podsNotRunning: integer(),
    /** The first server uploads its kubeconfig, sealed: off by default, since it is all of the cluster. */
    escrowKubeconfig: boolean().notNull().default(false),
    kubeconfigSealed: bytea(),
    kubeconfigAt: at(),
    /** A cluster that Rollcall did not make: sealed JSON of its API endpoint, CA and service-account token. */
    accessSealed: bytea(),
    /** Sealed JSON: import into a Rancher, or install of one. */
    rancherKind: text(),
    rancherSealed: bytea(),
    /** Sealed: what the first server brings into the cluster for it; and the one device that is given it. */
    rancherManifestSealed: bytea(),
    rancherGivenTo: text(),
    /** VIPs, names and ports of what stands before its servers. */
    loadBalancer: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    /** Sealed registries.yaml of all its nodes: it may hold passwords. */
    registriesSealed: bytea(),
    /** The upgrade that runs, or ran last. */
    upgrade: jsonb().$type<Record<string, unknown>>(),
    /** A deleted cluster keeps its managed schema until it is purged by name. */
    purgedAt: at(),
    /** Counts every change: the ETag, and the key of in-process caches. */
    version: integer().notNull().default(1),
    createdAt: at().notNull(),
    updatedAt: at().notNull(),
    deletedAt: at(),
  },
  (t) => [
    uniqueIndex('clusters_live_name').on(t.name).where(sql`${t.deletedAt} is null`),
    check('clusters_state', sql`${t.state} in ('virgin', 'initializing', 'up', 'stuck', 'compromised')`),
    check(
      'clusters_datastore_kind',
      sql`${t.datastoreKind} in ('managed', 'sqlite', 'postgres', 'mysql', 'etcd', 'embedded-etcd')`,
    ),
  ],
)
