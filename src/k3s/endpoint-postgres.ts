import { decoded, parsedUrl, unprintable } from './endpoint-text.ts'

export type PostgresEndpoint = {
  user: string
  password: string
  host: string
  port: number
  database: string
  /** Further connection parameters, e.g. sslmode */
  parameters?: Record<string, string>
}

/** The endpoint URL of a PostgreSQL datastore; every part is percent-encoded, since a bare `%`, `@` or `/` in a password breaks K3s. */
export function postgresEndpoint(parts: PostgresEndpoint): string {
  const host = parts.host.includes(':') ? `[${parts.host}]` : parts.host
  const query = Object.entries(parts.parameters ?? {}).map(([key, value]) => `${encodePart(key)}=${encodePart(value)}`)
  const end = query.length > 0 ? `?${query.join('&')}` : ''
  return `postgres://${encodePart(parts.user)}:${encodePart(parts.password)}@${host}:${parts.port}/${encodePart(parts.database)}${end}`
}

// encodeURIComponent leaves !'()* as they are; quotes are kept out of files that a shell may see.
export const encodePart = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

/** What is wrong with an endpoint of PostgreSQL as K3s takes it; undefined if nothing is. Never repeats it. */
export function postgresProblem(endpoint: string): string | undefined {
  if (!/^postgres(?:ql)?:\/\//.test(endpoint)) return 'must start with postgres:// or postgresql://'
  if (unprintable(endpoint) || /["'<>\\^`{|}]/.test(endpoint)) return 'has a character that must be percent-encoded'
  if (/%(?![0-9A-Fa-f]{2})/.test(endpoint)) return 'has a % that does not begin a percent-encoding'
  if (/@.*@/.test(endpoint)) return 'has more than one @: one in the password must be written %40'
  // K3s' URL parser (Go net/url, validUserinfo) takes less than ours, and pgx without a user takes the system's.
  if (!/^\w+:\/\/[A-Za-z0-9\-._~!$&'()*+,;=%]+(?::[A-Za-z0-9\-._~!$&'()*+,;=:%]*)?@/.test(endpoint))
    return 'names no user, or has / ? # [ ] in its login, which must be percent-encoded'
  const url = parsedUrl(endpoint)
  if (!url) return 'is no URL; / : ? # [ ] in a password must be percent-encoded'
  if (url.hostname === '') return 'names no host'
  if (url.hash !== '') return 'has a #, which must be written %23'
  return databaseProblem(url.pathname)
}

function databaseProblem(path: string): string | undefined {
  const database = decoded(path.slice(1))
  if (database === undefined) return 'has a database name that is not UTF-8'
  if (database === '') return 'names no database: K3s would take "kubernetes", which two clusters must not share'
  if (database.includes('/')) return 'has more than a database name in its path'
  if (database !== database.toLowerCase()) return 'has upper-case letters in the database name, which K3s lower-cases'
  return undefined
}
