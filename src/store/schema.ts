// The roll: devices, and what became of them.
import { sql } from 'drizzle-orm'
import {
  boolean,
  check,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  unique,
  uniqueIndex,
} from 'drizzle-orm/pg-core'
import type { ProfileSpec } from '../documents/profile.ts'
import { at, bytea, identity, numbered } from './columns.ts'
import { clusters } from './declared-schema.ts'

export const devices = pgTable(
  'devices',
  {
    id: text().primaryKey(),
    serial: text().notNull(),
    /** `serial` in lower case: what a claim is matched by. */
    serialKey: text().notNull(),
    // References, kept by triggers that look at a statement's rows together (migration 0009, ADR 10): an import's rows have few parents.
    profileId: text().notNull(),
    clusterId: text(),
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
    /** Why it is `failed`, or that the Node of its name may be another's, in words for the admin. */
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
    // A reference too, kept in the same way.
    deviceId: text().notNull(),
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
    /** Which of `shared_parts` it lacks; no foreign key, since each claim would lock the one row that all name. */
    documentShared: bytea(),
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

/**
 * Files of ours as documents hold them, packed: one for each release, kind of document and role, whatever many documents do. Not secret, never changed, never
 * deleted.
 */
export const sharedParts = pgTable('shared_parts', {
  /** SHA-256 of `packed` */
  hash: bytea().primaryKey(),
  /** Blocks of raw deflate */
  packed: bytea().notNull(),
})

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
    /** Alone it is looked for by nobody, and an index on it would cost each claim, report and line of an import. */
    id: numbered(),
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
  (t) => [primaryKey({ columns: [t.deviceId, t.id] })],
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
