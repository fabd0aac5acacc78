import { AppError } from '../errors.ts'
import { unprintable } from './endpoint-text.ts'

/** A MySQL or MariaDB endpoint, `mysql://user:password@tcp(host:port)/database?…`; admins may leave the scheme out. */
export type MysqlEndpoint = {
  user: string
  password: string
  host: string
  port: number
  database: string
  /** Connection parameters of the driver, e.g. `tls` */
  parameters?: Record<string, string>
}

const scheme = 'mysql://'
// kine writes the name unquoted into CREATE DATABASE (pkg/drivers/mysql/mysql.go).
const databaseName = /^[A-Za-z0-9_]{1,64}$/
const address = /^tcp\((\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?\)$/

/**
 * Takes an endpoint apart as the driver does (go-sql-driver/mysql, ParseDSN): the last `/` ends the address, the last `@` before it the
 * login, the first `:` the user. Nothing of a login is percent-decoded.
 * @returns what is wrong, without repeating anything of it
 */
export function parseMysql(endpoint: string): MysqlEndpoint | { problem: string } {
  const wrong = (problem: string) => ({ problem })
  const [named = scheme] = /^[a-z+]+:\/\//i.exec(endpoint) ?? []
  if (named !== scheme) return wrong('must start with mysql://')
  if (unprintable(endpoint)) return wrong('has a blank or a character beyond ASCII')
  const dsn = withScheme(endpoint).slice(scheme.length)
  const slash = dsn.lastIndexOf('/')
  const at = dsn.lastIndexOf('@', slash)
  if (slash < 0 || at < 0) return wrong('must read mysql://user:password@tcp(host:3306)/database')
  const found = address.exec(dsn.slice(at + 1, slash))
  if (!found) return wrong('must name its host as tcp(host:3306), and have no / in a parameter')
  const login = dsn.slice(0, at)
  const colon = login.indexOf(':')
  const user = colon < 0 ? login : login.slice(0, colon)
  if (user === '') return wrong('names no user')
  const [database = '', query = ''] = split(dsn.slice(slash + 1), '?')
  if (database === '') return wrong('names no database: K3s would take "kubernetes", which two clusters must not share')
  if (!databaseName.test(database)) return wrong('has a database name with other than letters, digits and _')
  const port = Number(found[2] ?? 3306)
  if (port < 1 || port > 65_535) return wrong('has a port that is none')
  const parameters = parametersOf(query)
  if (!parameters) return wrong('has parameters that are not name=value, percent-encoded')
  const host = (found[1] as string).replace(/^\[|\]$/g, '')
  return { user, password: colon < 0 ? '' : login.slice(colon + 1), host, port, database, parameters }
}

/** What K3s is told: it knows MySQL by its scheme alone, which drivers' own names of a database go without. */
export const withScheme = (endpoint: string): string =>
  endpoint.startsWith(scheme) ? endpoint : `${scheme}${endpoint}`

/** What is wrong with an endpoint of MySQL; undefined if nothing is. */
export function mysqlProblem(endpoint: string): string | undefined {
  const parsed = parseMysql(endpoint)
  return 'problem' in parsed ? parsed.problem : undefined
}

/**
 * The endpoint of a MySQL datastore. The driver decodes nothing, so what it could not tell apart is refused.
 * @throws AppError `invalid` for a user with a colon, or a login that is not printable ASCII
 */
export function mysqlEndpoint(parts: MysqlEndpoint): string {
  const host = parts.host.includes(':') ? `[${parts.host}]` : parts.host
  const query = Object.entries(parts.parameters ?? {}).map(([key, value]) => `${key}=${encodeURIComponent(value)}`)
  const end = query.length > 0 ? `?${query.join('&')}` : ''
  const endpoint = `${scheme}${parts.user}:${parts.password}@tcp(${host}:${parts.port})/${parts.database}${end}`
  const problem = parts.user.includes(':') ? 'has a user with a colon' : mysqlProblem(endpoint)
  if (problem) throw new AppError('invalid', { errors: [{ path: 'datastore.endpoint', reason: problem }] })
  return endpoint
}

function parametersOf(query: string): Record<string, string> | undefined {
  if (query === '') return {}
  const pairs = query.split('&').map((pair) => /^([A-Za-z0-9_]+)=((?:[^%&/]|%[0-9A-Fa-f]{2})*)$/.exec(pair))
  if (pairs.some((pair) => pair === null)) return undefined
  try {
    return Object.fromEntries(pairs.map((pair) => [pair?.[1], decodeURIComponent(pair?.[2] ?? '')]))
  } catch {
    return undefined
  }
}

function split(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
