import { bigint, customType, timestamp } from 'drizzle-orm/pg-core'

// The kinds of column that our tables are made of, where drizzle has none or another default.
export const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => 'bytea' })
export const at = () => timestamp({ withTimezone: true })
export const numbered = () => bigint({ mode: 'number' }).generatedAlwaysAsIdentity()
export const identity = () => numbered().primaryKey()
