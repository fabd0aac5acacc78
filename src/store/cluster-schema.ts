import { sql } from 'drizzle-orm'
import { boolean, check, index, integer, pgTable, primaryKey, text, uniqueIndex } from 'drizzle-orm/pg-core'
import { at, bytea } from './columns.ts'
import { clusters } from './declared-schema.ts'
import { devices } from './schema.ts'

/** What a cluster must do for the roll; its servers fetch and run it. At-least-once: every verb is idempotent. */
export const tasks = pgTable(
  'tasks',
  {
    id: text().primaryKey(),
    clusterId: text()
      .notNull()
      .references(() => clusters.id),
    verb: text().notNull(),
    /** The token's id, or the Node's name */
    subject: text().notNull(),
    /** token-create only: the token's secret half */
    secretSealed: bytea(),
    /** token-create only: when K3s shall refuse it */
    expiresAt: at(),
    /** Whose token or Node it is */
    enrollmentId: text(),
    createdAt: at().notNull(),
    /** When it was last handed to a server, and how often. */
    sentAt: at(),
    attempts: integer().notNull().default(0),
    doneAt: at(),
    /** ok, fail, superseded */
    result: text(),
    reason: text(),
  },
  (t) => [
    check('tasks_verb', sql`${t.verb} in ('token-create', 'token-delete', 'node-delete', 'node-ban')`),
    check('tasks_result', sql`${t.result} in ('ok', 'fail', 'superseded')`),
    // One of a kind at a time: who asks again changes the one that waits.
    uniqueIndex('tasks_live').on(t.clusterId, t.verb, t.subject).where(sql`${t.doneAt} is null`),
    index('tasks_waiting').on(t.clusterId, t.id).where(sql`${t.doneAt} is null`),
    index('tasks_done').on(t.doneAt).where(sql`${t.doneAt} is not null`),
  ],
)

/** Nodes as their clusters show them; one that no enrollment explains is a stranger. */
export const nodes = pgTable(
  'nodes',
  {
    clusterId: text()
      .notNull()
      .references(() => clusters.id),
    name: text().notNull(),
    /** Null for a stranger */
    deviceId: text().references(() => devices.id),
    enrollmentId: text(),
    /** datastore, server, api */
    source: text().notNull(),
    /** Null: unknown, its kubelet does not report */
    ready: boolean(),
    readySince: at(),
    version: text(),
    firstSeenAt: at().notNull(),
    seenAt: at().notNull(),
    goneAt: at(),
  },
  (t) => [
    primaryKey({ columns: [t.clusterId, t.name] }),
    check('nodes_source', sql`${t.source} in ('datastore', 'server', 'api')`),
    index('nodes_by_device').on(t.deviceId).where(sql`${t.deviceId} is not null`),
  ],
)

/** One Postgres login a server node of a managed cluster. The row outlives the role, so that a drop that failed is tried again. */
export const datastoreLogins = pgTable(
  'datastore_logins',
  {
    role: text().primaryKey(),
    clusterId: text()
      .notNull()
      .references(() => clusters.id),
    deviceId: text()
      .notNull()
      .references(() => devices.id),
    enrollmentId: text().notNull().unique('datastore_logins_enrollment'),
    createdAt: at().notNull(),
    /** It may not log in any more; its sessions were ended. */
    fencedAt: at(),
    /** Its role is gone. */
    droppedAt: at(),
  },
  (t) => [
    index('datastore_logins_live').on(t.clusterId).where(sql`${t.droppedAt} is null`),
    index('datastore_logins_by_device').on(t.deviceId).where(sql`${t.droppedAt} is null`),
  ],
)
