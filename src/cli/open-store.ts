import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import type { Config } from '../config.ts'
import type { OwnServer } from '../datastore/connect.ts'
import type { ManagedDatastore } from '../datastore/managed.ts'
import { type Embedded, openEmbedded } from '../postgres/embedded.ts'
import { prepareDataDirectory } from '../postgres/place.ts'
import type { ServerKeys } from '../services/context.ts'
import { type Database, openDatabase } from '../store/database.ts'
import { migrate } from '../store/migrate.ts'
import { unlock } from '../store/sealing-keys.ts'
import { serverKeys } from '../store/server-secrets.ts'
import type { Vault } from '../store/vault.ts'
import { makeSelfSigned } from '../tls/certificates.ts'
import { type TlsIdentity, tlsIdentity } from '../tls/identity.ts'
import { refuseEmptyDatabase, refuseEmptyDirectory } from './empty-store.ts'
import { doorOf, managedOf } from './managed.ts'

/** The database, migrated and unlocked, and what all servers of it share. */
export type Store = {
  database: Database
  vault: Vault
  keys: ServerKeys
  tls: TlsIdentity
  /** The clusters' PostgreSQL, if there is to be one */
  managed: ManagedDatastore | undefined
  /** The embedded PostgreSQL, if that is it */
  embedded: Embedded | undefined
  close: () => Promise<void>
}

type Target = OwnServer
/** Seconds that a database of one's own may take to come up, e.g. in a compose file. */
const patience = 30

type Say = (message: string) => void

/** Opens what the configuration names, making it where it is not; starts the embedded PostgreSQL if that is it and none runs. */
export function openStore(config: Config, say: Say, signal?: AbortSignal): Promise<Store> {
  return open(config, say, async () => {}, signal)
}

/**
 * The same for commands that ask about what is declared: a mistyped directory must not become a second installation. Tokens and pins may come
 * before the first start (PROTOCOL.md, "Command line").
 * @throws Error if there is none; then nothing was made
 */
export async function openExistingStore(config: Config, say: Say): Promise<Store> {
  refuseEmptyDirectory(config)
  return open(config, say, (target) => refuseEmptyDatabase(config, target))
}

async function open(
  config: Config,
  say: Say,
  check: (target: Target) => Promise<void>,
  signal?: AbortSignal,
): Promise<Store> {
  if (config.databaseUrl === undefined) prepareDataDirectory(config.dataDirectory)
  const embedded = config.databaseUrl === undefined ? await openOwnPostgres(config, 'guest', say) : undefined
  let database: Database | undefined
  try {
    const target = embedded ? ownTarget(embedded) : foreignTarget(config.databaseUrl as string)
    if (!embedded) await answering(target, say, signal)
    await check(target)
    prepareDataDirectory(config.dataDirectory)
    const { applied } = await migrate(target.url, target.connection)
    if (applied > 0) say(`the schema was brought up to date (${applied} migrations)`)
    database = openDatabase(target.url, { pool: config.databasePool, connection: target.connection })
    const shared = await unlocked(config, database, say)
    const managed = managedOf(config, target, { ...shared, embedded })
    return { database, ...shared, managed, embedded, close: closer(database, embedded, managed) }
  } catch (error) {
    await closer(database, embedded)()
    throw error
  }
}

/** Starts or adopts the embedded PostgreSQL of a data directory. */
export function openOwnPostgres(config: Config, use: 'unit' | 'guest', say: (message: string) => void) {
  return openEmbedded({
    dataDirectory: config.dataDirectory,
    account: config.postgres.user,
    listen: config.postgres.listen,
    port: config.postgres.port,
    use,
    stays: config.datastore !== undefined,
    // Room for longer than a node takes to be noticed that fills it (services/lock-watch.ts); 30 MB.
    ...(config.datastore ? { settings: { max_locks_per_transaction: '256' } } : {}),
    door: doorOf(config),
    certificate: () => makeSelfSigned(['localhost', '127.0.0.1', '::1'], unixTime()),
    say,
  })
}

/** Unix seconds. */
export const unixTime = () => Math.floor(Date.now() / 1000)

async function unlocked(config: Config, { sql }: Database, say: (message: string) => void) {
  const now = unixTime()
  const { vault, made } = await unlock(sql, config.sealingKeyFile, now, () => randomBytes(32))
  if (made)
    say(
      `made the sealing key ${config.sealingKeyFile}: KEEP A COPY in another place, the database cannot be read without it`,
    )
  const keys = await serverKeys(sql, vault, now)
  return { vault, keys, tls: await tlsIdentity(sql, vault, now) }
}

const closer = (database?: Database, embedded?: Embedded, managed?: ManagedDatastore) => async () => {
  await managed?.close()
  await database?.close()
  await embedded?.close()
}

const ownTarget = ({ connection }: Embedded): Target => ({ url: 'postgres://rollcall@localhost/rollcall', connection })

// libpq's name for the authority's file; postgres.js would send it to the server as a setting. Several hosts are no WHATWG URL.
function foreignTarget(text: string): Target {
  const [base = '', search = ''] = text.split('?')
  const query = new URLSearchParams(search)
  const file = query.get('sslrootcert')
  if (file === null || file === 'system') return { url: text, connection: {} }
  query.delete('sslrootcert')
  query.delete('sslmode')
  const rest = query.size > 0 ? `?${query}` : ''
  return { url: base + rest, connection: { ssl: { ca: readFileSync(file, 'utf8') } } }
}

async function answering(
  { url, connection }: Target,
  say: (message: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  for (let second = 0; ; second++) {
    const sql = postgres(url, { connect_timeout: 5, ...connection, max: 1, onnotice: () => {} })
    try {
      await sql`select 1`
      return
    } catch (error) {
      const { code = '', message } = error as { code?: string; message: string }
      // Wrong password, no such database: waiting does not help.
      if (second >= patience || /^(28|3D)/.test(code))
        throw new Error(`The database at DATABASE_URL cannot be used: ${message || code}`)
      if (second === 0) say(`the database at DATABASE_URL does not answer yet (${code || message})`)
    } finally {
      await sql.end({ timeout: 1 }).catch(() => {})
    }
    await sleep(1_000, undefined, signal ? { signal } : {})
  }
}
