// What a server keeps for itself and of its admins.
import { sql } from 'drizzle-orm'
import { check, index, integer, jsonb, pgTable, primaryKey, text, uniqueIndex } from 'drizzle-orm/pg-core'
import { at, bytea, identity } from './columns.ts'

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
