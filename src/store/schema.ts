import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  check,
  customType,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
  unique,
  uniqueIndex,
} from 'drizzle-orm/pg-core'
import type { ProfileSpec } from '../documents/profile.ts'

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => 'bytea' })
const at = (name?: string) => (name ? timestamp(name, { withTimezone: true }) : timestamp({ withTimezone: true }))
const identity = () => bigint({ mode: 'number' }).primaryKey().generatedAlwaysAsIdentity()

/** One check value per sealing key: proves that the key file fits this database before anything is read with it. */
export const sealingKeys = pgTable('sealing_keys', {
  id: text().primaryKey(),
  checkValue: bytea().notNull(),
  createdAt: at().notNull(),
})

/** The server's own secrets, shared by all replicas, each sealed under its name. */
export const secrets = pgTable('secrets', {
  name: text().primaryKey(),
  sealed: bytea().notNull(),
  createdAt: at().notNull(),
})

export const adminTokens = pgTable(
  'admin_tokens',
  {
    id: text().primaryKey(),
    name: text().notNull(),
    hash: bytea().notNull().unique(),
    scope: text().notNull(),
    createdAt: at().notNull(),
    expiresAt: at(),
    deletedAt: at(),
  },
  (t) => [
    check('admin_tokens_scope', sql`${t.scope} in ('read', 'write', 'admin')`),
    uniqueIndex('admin_tokens_live_name').on(t.name).where(sql`${t.deletedAt} is null`),
  ],
)

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

export const devices = pgTable(
  'devices',
  {
    id: text().primaryKey(),
    serial: text().notNull(),
    /** `serial` in lower case: what a claim is matched by. */
    serialKey: text().notNull(),
    profileId: text()
      .notNull()
      .references(() => profiles.id),
    clusterId: text().references(() => clusters.id),
    /** The device's own role, else the profile's counts. */
    role: text(),
    /** Null until the device has a cluster. */
    hostname: text(),
    hostnameGiven: boolean().notNull().default(false),
    uuid: text(),
    note: text().notNull().default(''),
    labels: jsonb().$type<Record<string, string>>().notNull().default({}),
    vars: jsonb().$type<ProfileSpec['vars']>().notNull().default({}),
    macs: text().array().notNull().default([]),
    minAssurance: text(),
    state: text().notNull().default('registered'),
    stateSince: at().notNull(),
    /** Why it is `failed`, in words for the admin. */
    failure: text(),
    /** How strongly the live enrollment was proved. */
    assurance: text(),
    reenrollGranted: boolean().notNull().default(false),
    mustRejoin: boolean().notNull().default(false),
    /** Set while it is the one server of a SQLite cluster: unique, so that a second one cannot be. */
    soleServerOf: text(),
    armedUntil: at(),
    version: integer().notNull().default(1),
    createdAt: at().notNull(),
    updatedAt: at().notNull(),
  },
  (t) => [
    // Of this operator class so that it serves equality and the beginnings that lists ask for, whatever the database's collation.
    uniqueIndex('devices_serial_key').on(t.serialKey.op('text_pattern_ops')),
    uniqueIndex('devices_sole_server_of').on(t.soleServerOf).where(sql`${t.soleServerOf} is not null`),
    unique('devices_hostname').on(t.clusterId, t.hostname),
    check(
      'devices_state',
      sql`${t.state} in ('registered', 'pending', 'enrolled', 'installing', 'joined', 'ready', 'failed', 'revoked', 'retired')`,
    ),
    check('devices_role', sql`${t.role} in ('server', 'agent')`),
    check('devices_min_assurance', sql`${t.minAssurance} in ('network', 'bearer', 'key', 'hardware')`),
    index('devices_by_state').on(t.state, t.id),
    index('devices_by_cluster').on(t.clusterId, t.id),
    index('devices_by_profile').on(t.profileId, t.id),
  ],
)

/** What a device's claims are checked against. Tombstones keep theirs, so that a revoked box learns that it was revoked. */
export const identities = pgTable(
  'identities',
  {
    id: identity(),
    deviceId: text()
      .notNull()
      .references(() => devices.id),
    kind: text().notNull().default('key'),
    /** RFC 7638, base64url */
    thumbprint: text().notNull(),
    /** Public key; null where only the thumbprint is pinned and claims carry the `jwk` themselves. */
    jwk: jsonb().$type<Record<string, string>>(),
    createdAt: at().notNull(),
    endedAt: at(),
  },
  (t) => [
    check('identities_kind', sql`${t.kind} in ('key')`),
    uniqueIndex('identities_live_thumbprint').on(t.thumbprint).where(sql`${t.endedAt} is null`),
    uniqueIndex('identities_live_device').on(t.deviceId).where(sql`${t.endedAt} is null`),
  ],
)

/** One accepted claim. */
export const enrollments = pgTable(
  'enrollments',
  {
    id: text().primaryKey(),
    deviceId: text()
      .notNull()
      .references(() => devices.id),
    clusterId: text()
      .notNull()
      .references(() => clusters.id),
    profileId: text().notNull(),
    profileRevision: integer().notNull(),
    role: text().notNull(),
    hostname: text().notNull(),
    assurance: text().notNull(),
    /** Thumbprint of the key that signed the claim: redeem must be signed by the same. */
    thumbprint: text(),
    /** SHA-256 of the claim as received: names its byte-identical retry. */
    claimHash: bytea().notNull(),
    createdAt: at().notNull(),
    documentType: text().notNull(),
    documentDigest: text().notNull(),
    /** Sealed; wiped when the device applied it or the enrollment ended. */
    documentSealed: bytea(),
    /** With placeholders for secrets; written when the sealed copy is wiped. */
    documentRedacted: text(),
    /** Server: hash of the ticket. Agent: hash of the K3s token. */
    joinHash: bytea().notNull(),
    /** Agent only: the K3s token, for the task that publishes it. */
    joinSealed: bytea(),
    joinExpiresAt: at().notNull(),
    /** Agent only: the token's public half, and what became of it in the cluster. */
    joinTokenId: text(),
    joinPublishedAt: at(),
    joinPublishedUntil: at(),
    joinDeletedAt: at(),
    /** Who redeemed: `proof` or the hash of a Rollcall-Retry-Key. */
    redeemedBy: text(),
    redeemedAt: at(),
    reportHash: bytea().notNull().unique('enrollments_report_hash'),
    reportExpiresAt: at().notNull(),
    reportCount: integer().notNull().default(0),
    nodeHash: bytea(),
    lastStep: text(),
    lastResult: text(),
    lastDetail: text(),
    lastStepAt: at(),
    appliedAt: at(),
    joinedAt: at(),
    readyAt: at(),
    /** True when the cluster itself showed the node; until then joined and ready are `reported`. */
    observed: boolean().notNull().default(false),
    endedAt: at(),
    endReason: text(),
  },
  (t) => [
    uniqueIndex('enrollments_live_device').on(t.deviceId).where(sql`${t.endedAt} is null`),
    uniqueIndex('enrollments_join_hash').on(t.joinHash),
    uniqueIndex('enrollments_node_hash').on(t.nodeHash).where(sql`${t.nodeHash} is not null`),
    index('enrollments_by_device').on(t.deviceId, t.id),
    index('enrollments_by_cluster').on(t.clusterId, t.id),
    // Join tokens that are in their cluster, or on their way, by the time at which something is to be done about them.
    index('enrollments_join_tokens')
      .on(t.joinExpiresAt)
      .where(sql`${t.joinTokenId} is not null and ${t.joinDeletedAt} is null`),
  ],
)

/** A nonce serves once; the primary key enforces it. Swept when no clock could still accept the nonce. */
export const redeemedNonces = pgTable(
  'redeemed_nonces',
  {
    nonce: text().primaryKey(),
    /** SHA-256 of what it was used in: a byte-identical redeem proof may come again. */
    usedIn: bytea().notNull(),
    redeemedAt: at().notNull(),
  },
  (t) => [index('redeemed_nonces_by_time').on(t.redeemedAt)],
)

/** A device's timeline. Append-only. */
export const events = pgTable(
  'events',
  {
    id: identity(),
    /** A device's id: no foreign key, since devices are never deleted, and each claim, report and line of an import would pay for it. */
    deviceId: text().notNull(),
    enrollmentId: text(),
    at: at().notNull(),
    /** server, node, cloud-init, phone-home, admin */
    source: text().notNull(),
    name: text().notNull(),
    result: text(),
    detail: jsonb().$type<unknown>(),
  },
  (t) => [index('events_by_device').on(t.deviceId, t.id)],
)

/** What admins and the server did. Append-only. */
export const audit = pgTable(
  'audit',
  {
    id: identity(),
    at: at().notNull(),
    /** `token:<name>`, `server`, `cli` */
    actor: text().notNull(),
    action: text().notNull(),
    /** e.g. `device:SN-1`, `cluster:site-a` */
    target: text().notNull(),
    requestId: text(),
    detail: jsonb().$type<unknown>(),
  },
  (t) => [index('audit_by_target').on(t.target, t.id)],
)

/** At most one alarm a device and key an hour: when the last one was raised. */
export const alarms = pgTable(
  'alarms',
  {
    deviceId: text()
      .notNull()
      .references(() => devices.id),
    about: text().notNull(),
    at: at().notNull(),
  },
  (t) => [primaryKey({ columns: [t.deviceId, t.about] })],
)

/** Answers kept for 24 h, so that a repeated admin request changes nothing. */
export const idempotency = pgTable(
  'idempotency',
  {
    tokenId: text().notNull(),
    route: text().notNull(),
    key: text().notNull(),
    bodyHash: bytea().notNull(),
    /** Null while the first request still runs. */
    status: integer(),
    response: text(),
    headers: jsonb().$type<Record<string, string>>(),
    createdAt: at().notNull(),
  },
  (t) => [primaryKey({ columns: [t.tokenId, t.route, t.key] }), index('idempotency_by_time').on(t.createdAt)],
)
