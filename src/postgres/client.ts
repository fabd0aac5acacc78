import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres, { type Sql } from 'postgres'
import { fits } from './settings.ts'

/** Where an embedded PostgreSQL answers, and how to know that it is ours. */
export type Endpoint = {
  port: number
  sockets: string
  /** PEM file: the server's own certificate and what is behind it, which is all that TLS clients trust */
  certificateFile: string
}

export type Login = { user: string; password: string; database: string }

/** Options for postgres.js. The Unix socket where its path fits (no TLS there, none needed), else TLS on the loopback. */
export function clientOptions({ port, sockets, certificateFile }: Endpoint, { user, password, database }: Login) {
  const login = { port, user, password, database }
  if (fits(sockets, port)) return { ...login, host: sockets }
  const ssl = {
    servername: 'localhost',
    // Looked at for each connection: the certificate is replaced while a pool is open (certificate.ts).
    get ca() {
      return readFileSync(certificateFile, 'utf8')
    },
  }
  return { ...login, host: '127.0.0.1', ssl }
}

/** Runs something on one connection of its own. */
export async function withClient<T>(endpoint: Endpoint, login: Login, use: (sql: Sql) => Promise<T>): Promise<T> {
  const options = { ...clientOptions(endpoint, login), max: 1, connect_timeout: 10, onnotice: () => {} }
  const sql = postgres(options as postgres.Options<Record<string, never>>)
  try {
    return await use(sql)
  } finally {
    await sql.end({ timeout: 5 })
  }
}

/** Milliseconds that a PostgreSQL which recovers from a crash may take until it lets anybody in. */
const recovery = 60_000

/**
 * Waits until a PostgreSQL lets us in. One that recovers from a crash still says in its pid file that it is ready, and refuses
 * in several ways meanwhile (57P03, a shared memory segment that is gone, a socket that is not there).
 * @throws what it said last, when waiting did not help or cannot help: a wrong password, no such database
 */
export async function untilItAnswers(endpoint: Endpoint, login: Login): Promise<void> {
  const deadline = Date.now() + recovery
  for (;;) {
    try {
      await withClient(endpoint, login, (sql) => sql`select 1`)
      return
    } catch (error) {
      const { code = '' } = error as { code?: string }
      if (/^(28|3D)/.test(code) || Date.now() > deadline) throw error
    }
    await sleep(100)
  }
}
