import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate as apply } from 'drizzle-orm/postgres-js/migrator'
import postgres, { type Sql } from 'postgres'

/** Any constant will do, as long as it is ours: "rollcall" in hex. */
const lockKey = '8245928655518264428'

/** The code's own migrations, oldest first. Their times are what the database remembers them by. */
export type Journal = { folder: string; newest: number; tag: string }

/** Finds `migrations/` from the sources and from `dist/` alike. @throws Error if the package is incomplete */
export function readJournal(): Journal {
  const folder = join(packageRoot(), 'migrations')
  const { entries } = JSON.parse(readFileSync(join(folder, 'meta', '_journal.json'), 'utf8')) as {
    entries: { when: number; tag: string }[]
  }
  const last = entries.at(-1)
  if (!last) throw new Error(`${folder} holds no migration`)
  return { folder, newest: last.when, tag: last.tag }
}

/**
 * Brings the schema up to the code's, once, however many servers start together, and closes the database to PUBLIC.
 * Forward only.
 * @param connection further options for postgres.js, as for `openDatabase`
 * @throws Error if the schema is newer than this code
 */
export async function migrate(
  url: string,
  connection: postgres.Options<Record<string, never>> = {},
): Promise<{ applied: number }> {
  const journal = readJournal()
  const sql = postgres(url, { onnotice: () => {}, connect_timeout: 10, ...connection, max: 1, max_lifetime: null })
  try {
    // A session's lock: it ends with the connection, however this process ends.
    await sql`select pg_advisory_lock(${lockKey}::bigint)`
    const before = await newestApplied(sql)
    refuseNewer(before, journal)
    const counted = await count(sql)
    await apply(drizzle({ client: sql }), { migrationsFolder: journal.folder })
    await sql.unsafe(`revoke connect, temporary on database ${await ownName(sql)} from public`)
    return { applied: (await count(sql)) - counted }
  } finally {
    await sql.end({ timeout: 5 })
  }
}

/** Whether the schema is at least the code's. One cheap query; throws what the connection throws. */
export async function isMigrated(sql: Sql, journal: Journal): Promise<boolean> {
  const [row] = await sql<
    { newest: string | null }[]
  >`select max(created_at) as newest from drizzle.__drizzle_migrations`
  return Number(row?.newest ?? 0) >= journal.newest
}

function refuseNewer(applied: number, { newest, tag }: Journal): void {
  if (applied <= newest) return
  throw new Error(
    `The database's schema is newer than this Rollcall (it knows migrations up to ${tag}; the database has one of ` +
      `${new Date(applied).toISOString()}): start the newer Rollcall again, or restore a backup from before the upgrade`,
  )
}

async function newestApplied(sql: Sql): Promise<number> {
  if (!(await hasTable(sql))) return 0
  const [row] = await sql<
    { newest: string | null }[]
  >`select max(created_at) as newest from drizzle.__drizzle_migrations`
  return Number(row?.newest ?? 0)
}

async function count(sql: Sql): Promise<number> {
  if (!(await hasTable(sql))) return 0
  const [row] = await sql<{ n: number }[]>`select count(*)::int as n from drizzle.__drizzle_migrations`
  return row?.n ?? 0
}

async function hasTable(sql: Sql): Promise<boolean> {
  const [row] = await sql<{ there: boolean }[]>`select to_regclass('drizzle.__drizzle_migrations') is not null as there`
  return row?.there ?? false
}

async function ownName(sql: Sql): Promise<string> {
  const [row] = await sql<{ name: string }[]>`select quote_ident(current_database()) as name`
  return row?.name ?? ''
}

function packageRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(directory, 'package.json'))) {
    const parent = dirname(directory)
    if (parent === directory) throw new Error('Rollcall is not installed whole: no package.json above its code')
    directory = parent
  }
  return directory
}
