import { statSync } from 'node:fs'
import postgres from 'postgres'
import type { Config } from '../config.ts'
import type { OwnServer } from '../datastore/connect.ts'
import { findPlace } from '../postgres/place.ts'

/** @throws Error if the embedded PostgreSQL is meant and the data directory holds none */
export function refuseEmptyDirectory({ databaseUrl, dataDirectory }: Config): void {
  const place = findPlace(dataDirectory)
  // One that lies elsewhere and is gone is told of where it is opened.
  if (databaseUrl !== undefined || place.isElsewhere || isThere(place.data)) return
  throw new Error(
    `The data directory ${dataDirectory} holds no database: start \`rollcall serve\` on it first, or name the right one with --data-dir or ` +
      'ROLLCALL_DATA_DIR (or DATABASE_URL, if yours is not the embedded one)',
  )
}

// Unlike existsSync, which says no as well where we may not look.
const isThere = (path: string) => statSync(path, { throwIfNoEntry: false }) !== undefined

/** @throws Error if no server ever started on the database */
export async function refuseEmptyDatabase(config: Config, { url, connection }: OwnServer): Promise<void> {
  const sql = postgres(url, { connect_timeout: 10, ...connection, max: 1, onnotice: () => {} })
  try {
    const [table] = await sql<{ there: boolean }[]>`select to_regclass('public.sealing_keys') is not null as there`
    if (table?.there && (await sql`select 1 from sealing_keys limit 1`).length > 0) return
  } finally {
    await sql.end({ timeout: 5 })
  }
  const what =
    config.databaseUrl === undefined ? `The database of ${config.dataDirectory}` : 'The database at DATABASE_URL'
  throw new Error(`${what} is empty: start \`rollcall serve\` on it first, or \`rollcall migrate\``)
}
