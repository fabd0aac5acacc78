import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { z } from '@hono/zod-openapi'
import { contradictions } from './config-contradictions.ts'
import {
  authorities,
  databaseUrl,
  datastoreAddress,
  hostName,
  list,
  network,
  origin,
  pem,
  port,
  publicKey,
  webUrl,
  whole,
} from './config-values.ts'
import { type DatastoreHost, parseDatastoreAddress } from './k3s/datastore-address.ts'

/** Everything that an admin can set. Frozen; this file alone reads the environment. */
export type Config = Readonly<{
  dataDirectory: string
  /** Where both listeners listen; undefined = everywhere */
  host: string | undefined
  /** 0 = a free one */
  httpsPort: number
  httpPort: number
  /** Undefined = the embedded PostgreSQL */
  databaseUrl: string | undefined
  /** Connections for the device routes; the rest gets half as many */
  databasePool: number
  /** The embedded PostgreSQL: account (as root), TCP addresses and port (0 = a free one) */
  postgres: Readonly<{ user: string | undefined; listen: string; port: number }>
  /** Where nodes find the clusters' PostgreSQL, which is the roll's own; undefined = no managed datastores */
  datastore: DatastoreConfig | undefined
  /** Origins; undefined = guessed from the listening host and port */
  publicUrl: string | undefined
  bootUrl: string | undefined
  audiences: readonly string[]
  tlsSans: readonly string[]
  /** PEM, in place of the certificate that Rollcall makes */
  tls: Readonly<{ certificate: string; key: string }> | undefined
  /** PEM: further authorities that devices shall trust, for a certificate of one's own */
  tlsCa: string | undefined
  /** PEM of a public key that the server is to have later */
  tlsNextKey: string | undefined
  sealingKeyFile: string
  /** `mirror`: documents name this server's own if it holds the version (auto), nothing else (on), or never (off) */
  k3s: Readonly<{ scriptUrl: string; artifactUrl: string; mirror: 'auto' | 'on' | 'off' }>
  /** Days that events of what is over, and the audit, are kept; 0 = for ever */
  keep: Readonly<{ events: number; audit: number }>
  logLevel: string
  /** Seconds that requests in flight may take after SIGTERM */
  drainSeconds: number
}>

/** Managed datastores. */
export type DatastoreConfig = Readonly<{
  /** `host[:port]`, several with commas */
  address: string
  /** PEM; undefined = our own CA, which the embedded PostgreSQL then has its certificate from */
  ca: string | undefined
  /** The embedded PostgreSQL: what nodes may come from, each `all` or a CIDR; empty = from this machine alone */
  networks: readonly string[]
}>

/** Wrong usage: all that is wrong, one sentence a line. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** What `loadConfig` reads; tests pass their own. */
export type ConfigSource = {
  /** Flags by their long name without dashes, e.g. `https-port` */
  flags: Readonly<Record<string, string | undefined>>
  env: Readonly<Record<string, string | undefined>>
  root: boolean
}

const Settings = z.object({
  ROLLCALL_DATA_DIR: z.string().transform((path) => resolve(path)),
  ROLLCALL_HOST: hostName.optional(),
  ROLLCALL_HTTPS_PORT: port.default(8443),
  ROLLCALL_HTTP_PORT: port.default(8080),
  DATABASE_URL: databaseUrl.optional(),
  ROLLCALL_DATABASE_POOL: whole(2, 200).default(8),
  ROLLCALL_POSTGRES_USER: z.string().optional(),
  ROLLCALL_POSTGRES_LISTEN: z.string().optional(),
  ROLLCALL_POSTGRES_PORT: port.default(0),
  ROLLCALL_DATASTORE_ADDRESS: datastoreAddress.optional(),
  ROLLCALL_DATASTORE_CA: authorities.optional(),
  ROLLCALL_DATASTORE_NETWORKS: list.pipe(z.array(network)).default([]),
  ROLLCALL_PUBLIC_URL: origin('https:').optional(),
  ROLLCALL_BOOT_URL: origin('http:').or(origin('https:')).optional(),
  ROLLCALL_AUDIENCES: list.default([]),
  ROLLCALL_TLS_SANS: list.pipe(z.array(hostName)).default([]),
  ROLLCALL_TLS_CERT: pem('CERTIFICATE').optional(),
  ROLLCALL_TLS_KEY: pem('').optional(),
  ROLLCALL_TLS_CA: authorities.optional(),
  ROLLCALL_TLS_NEXT_KEY: publicKey.optional(),
  ROLLCALL_SEALING_KEY_FILE: z.string().optional(),
  ROLLCALL_K3S_SCRIPT_URL: webUrl.default('https://raw.githubusercontent.com/k3s-io/k3s/{version}/install.sh'),
  ROLLCALL_K3S_ARTIFACT_URL: webUrl.default('https://github.com/k3s-io/k3s/releases/download'),
  ROLLCALL_MIRROR: z.enum(['auto', 'on', 'off']).default('auto'),
  ROLLCALL_KEEP_EVENTS_DAYS: whole(0, 36_500).default(400),
  ROLLCALL_KEEP_AUDIT_DAYS: whole(0, 36_500).default(0),
  ROLLCALL_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  ROLLCALL_DRAIN_SECONDS: whole(0, 3_600).default(25),
})
type Name = keyof typeof Settings.shape

/** Settings that have a flag too. */
const flagged: Partial<Record<Name, string>> = {
  ROLLCALL_DATA_DIR: 'data-dir',
  ROLLCALL_HOST: 'host',
  ROLLCALL_HTTPS_PORT: 'https-port',
  ROLLCALL_HTTP_PORT: 'http-port',
  DATABASE_URL: 'database-url',
}
/** Settings that may stand in a file named by `<name>_FILE`; PEM settings may hold a path themselves. */
const filed: readonly Name[] = [
  'DATABASE_URL',
  'ROLLCALL_DATASTORE_CA',
  'ROLLCALL_TLS_CERT',
  'ROLLCALL_TLS_KEY',
  'ROLLCALL_TLS_CA',
  'ROLLCALL_TLS_NEXT_KEY',
]

/** For `parseArgs`: the flags of every command that opens the database. */
export const configFlags = Object.fromEntries(
  Object.values(flagged).map((name) => [name, { type: 'string' as const }]),
) as Record<string, { type: 'string' }>

/**
 * Reads flags (they win), environment and the files that these name.
 * @throws ConfigError with every problem, not only the first
 */
export function loadConfig(source: ConfigSource): Config {
  const problems: string[] = []
  const raw: Record<string, string> = { ROLLCALL_DATA_DIR: defaultDataDirectory(source) }
  for (const name of Object.keys(Settings.shape) as Name[]) {
    const text = read(name, source, problems)
    if (text !== undefined) raw[name] = text
  }
  const parsed = Settings.safeParse(raw)
  for (const issue of parsed.error?.issues ?? []) problems.push(`${label(issue.path[0] as Name)}: ${issue.message}`)
  problems.push(...contradictions(raw))
  if (problems.length > 0 || !parsed.success) throw new ConfigError(problems.join('\n'))
  return freeze(toConfig(parsed.data))
}

function toConfig(s: z.output<typeof Settings>): Config {
  const tls = s.ROLLCALL_TLS_CERT !== undefined && s.ROLLCALL_TLS_KEY !== undefined
  return {
    dataDirectory: s.ROLLCALL_DATA_DIR,
    host: s.ROLLCALL_HOST,
    httpsPort: s.ROLLCALL_HTTPS_PORT,
    httpPort: s.ROLLCALL_HTTP_PORT,
    databaseUrl: s.DATABASE_URL,
    databasePool: s.ROLLCALL_DATABASE_POOL,
    ...datastoreConfig(s),
    publicUrl: s.ROLLCALL_PUBLIC_URL,
    bootUrl: s.ROLLCALL_BOOT_URL,
    audiences: s.ROLLCALL_AUDIENCES,
    tlsSans: s.ROLLCALL_TLS_SANS,
    tls: tls ? { certificate: s.ROLLCALL_TLS_CERT as string, key: s.ROLLCALL_TLS_KEY as string } : undefined,
    tlsCa: s.ROLLCALL_TLS_CA,
    tlsNextKey: s.ROLLCALL_TLS_NEXT_KEY,
    sealingKeyFile: resolve(s.ROLLCALL_SEALING_KEY_FILE ?? join(s.ROLLCALL_DATA_DIR, 'sealing.key')),
    k3s: {
      scriptUrl: s.ROLLCALL_K3S_SCRIPT_URL,
      artifactUrl: s.ROLLCALL_K3S_ARTIFACT_URL,
      mirror: s.ROLLCALL_MIRROR,
    },
    keep: { events: s.ROLLCALL_KEEP_EVENTS_DAYS, audit: s.ROLLCALL_KEEP_AUDIT_DAYS },
    logLevel: s.ROLLCALL_LOG_LEVEL,
    drainSeconds: s.ROLLCALL_DRAIN_SECONDS,
  }
}

function datastoreConfig(s: z.output<typeof Settings>): Pick<Config, 'postgres' | 'datastore'> {
  const { ROLLCALL_DATASTORE_ADDRESS: address, ROLLCALL_DATASTORE_NETWORKS: networks } = s
  const [first] = address === undefined ? [] : (parseDatastoreAddress(address) as DatastoreHost[])
  return {
    postgres: {
      user: s.ROLLCALL_POSTGRES_USER,
      listen: s.ROLLCALL_POSTGRES_LISTEN ?? (networks.length > 0 ? '*' : '127.0.0.1'),
      // Documents name the port, so another one at each start would not do.
      port: s.ROLLCALL_POSTGRES_PORT || (first?.port ?? 0),
    },
    datastore: address === undefined ? undefined : { address, ca: s.ROLLCALL_DATASTORE_CA, networks },
  }
}

function read(name: Name, { flags, env }: ConfigSource, problems: string[]): string | undefined {
  const flag = flagged[name]
  const given = (flag === undefined ? undefined : flags[flag]) ?? (env[name] || undefined)
  const path = env[`${name}_FILE`] || undefined
  if (!filed.includes(name)) return given
  if (given !== undefined && path !== undefined) {
    problems.push(`${name} and ${name}_FILE: give one of them`)
    return undefined
  }
  // A PEM setting that is no PEM is the path of one.
  const isPath = given !== undefined && name !== 'DATABASE_URL' && !given.includes('-----BEGIN')
  const file = path ?? (isPath ? given : undefined)
  if (file === undefined) return given
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    // What was meant for a key and is no PEM may be the key all the same.
    const shown = path === undefined && name === 'ROLLCALL_TLS_KEY' ? 'what is neither PEM nor a file' : file
    problems.push(`${path ? `${name}_FILE` : name}: cannot read ${shown} (${(error as NodeJS.ErrnoException).code})`)
    return undefined
  }
}

function defaultDataDirectory({ env, root }: ConfigSource): string {
  if (root) return '/var/lib/rollcall'
  return join(env.XDG_STATE_HOME || join(env.HOME || homedir(), '.local', 'state'), 'rollcall')
}

const label = (name: Name) => (flagged[name] ? `--${flagged[name]} (${name})` : name)

function freeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (part !== null && typeof part === 'object') freeze(part)
  return Object.freeze(value)
}
