import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import postgres, { type Sql } from 'postgres'
import { waitForLock } from '../src/postgres/lock.ts'
import { enter, leave } from '../src/postgres/users.ts'
import { migrate, readJournal } from '../src/store/migrate.ts'

export type TestDatabase = {
  /** For `openDatabase` and for libpq; a role that is no superuser but owns the database */
  url: string
  /** Drops the database, whoever is still connected. */
  close: () => Promise<void>
}

const keeper = fileURLToPath(new URL('postgres-keeper.ts', import.meta.url))
const template = `rollcall_template_${digest(migrationFiles())}`

let server: Promise<string> | undefined

/**
 * A migrated database of one's own, on a real PostgreSQL that all test files of a run share: the one in
 * ROLLCALL_TEST_DATABASE_URL if that is set (a role that may create databases), else an embedded one, which ends by itself.
 */
export async function testDatabase(): Promise<TestDatabase> {
  return create(`template ${await migratedTemplate()}`)
}

/** The same without any table, for tests of migrations. */
export async function emptyDatabase(): Promise<TestDatabase> {
  return create('')
}

/** The shared server's own URL. */
export function testServer(): Promise<string> {
  server ??= process.env.ROLLCALL_TEST_DATABASE_URL
    ? Promise.resolve(process.env.ROLLCALL_TEST_DATABASE_URL)
    : embedded(join(tmpdir(), `rollcall-test-${process.getuid?.()}-${digest(keeper)}`))
  return server
}

/** PEM: what the shared server's certificate is checked against; it names localhost and 127.0.0.1. */
export async function testAuthority(): Promise<string> {
  const { hostname, port } = new URL(await testServer())
  const plain = connectTcp(Number(port), hostname)
  plain.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))
  await once(plain, 'data')
  const socket = connectTls({ socket: plain, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const certificate = socket.getPeerX509Certificate()?.toString() ?? ''
  socket.destroy()
  return certificate
}

async function create(how: string): Promise<TestDatabase> {
  const base = await testServer()
  const name = `rollcall_test_${process.pid}_${randomBytes(4).toString('hex')}`
  await asked(base, (sql) => sql.unsafe(`create database ${name} ${how}`))
  return {
    url: named(base, name),
    close: async () => {
      await asked(base, (sql) => sql.unsafe(`drop database if exists ${name} with (force)`))
    },
  }
}

let prepared: Promise<string> | undefined

function migratedTemplate(): Promise<string> {
  prepared ??= testServer().then((base) => asked(base, (sql) => prepareTemplate(base, sql)))
  return prepared
}

// The comment is written last: a template without it was left half-way by a killed process.
async function prepareTemplate(base: string, sql: Sql): Promise<string> {
  await sql`select pg_advisory_lock(hashtext(${template}))`
  const [found] = await sql<{ comment: string | null }[]>`
    select shobj_description(oid, 'pg_database') as comment from pg_database where datname = ${template}`
  if (found?.comment === 'ready') return template
  if (found) await sql.unsafe(`drop database ${template} with (force)`)
  await sql.unsafe(`create database ${template}`)
  await migrate(named(base, template))
  await sql.unsafe(`comment on database ${template} is 'ready'`)
  return template
}

async function embedded(directory: string): Promise<string> {
  await register(directory)
  const file = join(directory, 'url')
  const deadline = Date.now() + 120_000
  for (let round = 0; Date.now() < deadline; round++) {
    if (existsSync(file) && (await answers(readFileSync(file, 'utf8')))) return readFileSync(file, 'utf8')
    // Two keepers at once are harmless: the second one ends at its lock.
    if (round % 40 === 0) launchKeeper(directory)
    await sleep(50)
  }
  throw new Error(`no PostgreSQL for tests: see ${join(directory, 'keeper.log')}`)
}

async function register(directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true, mode: 0o711 })
  const door = await waitForLock(directory, 'door', 60_000)
  try {
    enter(join(directory, 'users'), 'guest')
  } finally {
    door.release()
  }
  process.once('exit', () => leave(join(directory, 'users'), 'guest'))
}

function launchKeeper(directory: string): void {
  const log = openSync(join(directory, 'keeper.log'), 'a', 0o600)
  spawn(process.execPath, ['--import', 'tsx', keeper, directory], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    detached: true,
    stdio: ['ignore', log, log],
  }).unref()
}

const answers = (url: string) =>
  asked(url, (sql) => sql`select 1`).then(
    () => true,
    () => false,
  )

async function asked<T>(url: string, ask: (sql: Sql) => Promise<T>): Promise<T> {
  const sql = postgres(url, { max: 1, connect_timeout: 10, onnotice: () => {} })
  try {
    return await ask(sql)
  } finally {
    await sql.end({ timeout: 5 })
  }
}

function named(base: string, database: string): string {
  const url = new URL(base)
  url.pathname = `/${database}`
  return url.href
}

function digest(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex').slice(0, 8)
}

function migrationFiles(): string {
  const { folder } = readJournal()
  const names = readdirSync(folder).filter((name) => name.endsWith('.sql'))
  return names
    .sort()
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join()
}
