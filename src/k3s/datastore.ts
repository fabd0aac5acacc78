import type { FieldError } from '../errors.ts'
import type { Datastore } from './cluster.ts'

/** K3s' config.yaml keys for a datastore, and the root-only files that they name. */
export type DatastoreConfig = { keys: Record<string, string>; files: { path: string; content: string }[] }

const directory = '/etc/rancher/k3s'
const pem = {
  cafile: {
    path: `${directory}/datastore-ca.pem`,
    form: /^-----BEGIN CERTIFICATE-----\n[\s\S]+-----END CERTIFICATE-----\s*$/,
  },
  certfile: {
    path: `${directory}/datastore-cert.pem`,
    form: /^-----BEGIN CERTIFICATE-----\n[\s\S]+-----END CERTIFICATE-----\s*$/,
  },
  keyfile: {
    path: `${directory}/datastore-key.pem`,
    form: /^-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\n[\s\S]+-----END (?:[A-Z]+ )?PRIVATE KEY-----\s*$/,
  },
} as const
type PemKey = keyof typeof pem
const pemKeys = Object.keys(pem) as PemKey[]

/**
 * What is wrong with a datastore, by path; empty if it can be used.
 * No reason repeats the endpoint: it may hold a password.
 */
export function checkDatastore(datastore: Datastore): FieldError[] {
  if (datastore.kind === 'sqlite') return checkSqlite(datastore)
  if (datastore.kind === 'postgres') return [...checkPostgres(datastore), ...checkPem(datastore)]
  return [{ path: 'datastore.kind', reason: `${datastore.kind} comes later; sqlite and postgres work today` }]
}

/** K3s' own keys for a datastore that `checkDatastore` accepted. SQLite is what K3s takes without any. */
export function datastoreConfig(datastore: Datastore): DatastoreConfig {
  if (datastore.kind === 'sqlite') return { keys: {}, files: [] }
  const given = pemKeys.filter((key) => datastore[key] !== undefined)
  return {
    keys: Object.fromEntries([
      ['datastore-endpoint', datastore.endpoint as string],
      ...given.map((key) => [`datastore-${key}`, pem[key].path]),
    ]),
    files: given.map((key) => ({ path: pem[key].path, content: datastore[key] as string })),
  }
}

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
  const query = Object.entries(parts.parameters ?? {}).map(([key, value]) => `${encode(key)}=${encode(value)}`)
  const end = query.length > 0 ? `?${query.join('&')}` : ''
  return `postgres://${encode(parts.user)}:${encode(parts.password)}@${host}:${parts.port}/${encode(parts.database)}${end}`
}

// encodeURIComponent leaves !'()* as they are; quotes are kept out of files that a shell may see.
const encode = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

function checkSqlite(datastore: Datastore): FieldError[] {
  return (['endpoint', ...pemKeys] as const)
    .filter((key) => datastore[key] !== undefined)
    .map((key) => ({ path: `datastore.${key}`, reason: 'sqlite lies on the server itself and takes none' }))
}

function checkPostgres({ endpoint }: Datastore): FieldError[] {
  const problem = endpoint === undefined ? 'postgres needs an endpoint' : endpointProblem(endpoint)
  return problem ? [{ path: 'datastore.endpoint', reason: problem }] : []
}

function endpointProblem(endpoint: string): string | undefined {
  if (!/^postgres(?:ql)?:\/\//.test(endpoint)) return 'must start with postgres:// or postgresql://'
  if (/[^\x21-\x7e]|["'<>\\^`{|}]/.test(endpoint)) return 'has a character that must be percent-encoded'
  if (/%(?![0-9A-Fa-f]{2})/.test(endpoint)) return 'has a % that does not begin a percent-encoding'
  if (/@.*@/.test(endpoint)) return 'has more than one @: one in the password must be written %40'
  const url = parseUrl(endpoint)
  if (!url) return 'is no URL; / : ? # [ ] in a password must be percent-encoded'
  if (url.hostname === '') return 'names no host'
  if (url.hash !== '') return 'has a #, which must be written %23'
  return databaseProblem(url.pathname)
}

function databaseProblem(path: string): string | undefined {
  const database = decodeURIComponentOrNot(path.slice(1))
  if (database === undefined) return 'has a database name that is not UTF-8'
  if (database === '') return 'names no database: K3s would take "kubernetes", which two clusters must not share'
  if (database.includes('/')) return 'has more than a database name in its path'
  if (database !== database.toLowerCase()) return 'has upper-case letters in the database name, which K3s lower-cases'
  return undefined
}

function checkPem(datastore: Datastore): FieldError[] {
  const errors: FieldError[] = []
  for (const key of pemKeys) {
    const text = datastore[key]
    if (text !== undefined && !pem[key].form.test(text))
      errors.push({ path: `datastore.${key}`, reason: 'must be PEM text' })
  }
  if ((datastore.certfile === undefined) !== (datastore.keyfile === undefined)) {
    const missing = datastore.certfile === undefined ? 'certfile' : 'keyfile'
    errors.push({ path: `datastore.${missing}`, reason: 'certfile and keyfile go together' })
  }
  return errors
}

function parseUrl(text: string): URL | undefined {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}

function decodeURIComponentOrNot(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
