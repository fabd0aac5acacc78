import { sql } from 'drizzle-orm'
import { enrollments } from './schema.ts'

/** A document as it is stored: what is its own, sealed, and what it shares with others (sealed-document.ts). */
export type StoredDocument = { sealed: Uint8Array; shared: Uint8Array | null }

/** The shared part of an enrollment's document; a subquery, since no outer join can be locked. */
export const sharedPart = sql<Uint8Array | null>`(select p.packed from shared_parts p where p.hash = ${enrollments.documentShared})`
