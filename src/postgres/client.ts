import postgres, { type Sql } from 'postgres'
import { fits } from './settings.ts'

/** Where an embedded PostgreSQL answers, and how to know that it is ours. */
export type Endpoint = {
  port: number
  sockets: string
  /** PEM: the server's own certificate, which is all that TLS clients trust */
  certificate: string
}

export type Login = { user: string; password: string; database: string }

/** Options for postgres.js. The Unix socket where its path fits (no TLS there, none needed), else TLS on the loopback. */
export function clientOptions({ port, sockets, certificate }: Endpoint, { user, password, database }: Login) {
  const login = { port, user, password, database }
  if (fits(sockets, port)) return { ...login, host: sockets }
  return { ...login, host: '127.0.0.1', ssl: { ca: certificate, servername: 'localhost' } }
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
