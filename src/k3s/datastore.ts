import type { FieldError } from '../errors.ts'
import type { Datastore } from './cluster.ts'
import { etcdProblem } from './endpoint-etcd.ts'
import { mysqlProblem, withScheme } from './endpoint-mysql.ts'
import { postgresProblem } from './endpoint-postgres.ts'

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

type External = 'postgres' | 'mysql' | 'etcd'
const problemOf: Record<External, (endpoint: string) => string | undefined> = {
  postgres: postgresProblem,
  mysql: mysqlProblem,
  etcd: etcdProblem,
}

/** Kinds that an admin gives no endpoint and no certificates for, and why. */
const takesNothing: Partial<Record<Datastore['kind'], string>> = {
  managed: 'managed lies on the PostgreSQL that Rollcall names, and takes none',
  sqlite: 'sqlite lies on the server itself and takes none',
  'embedded-etcd': 'embedded-etcd lies on the servers themselves and takes none',
}

/**
 * What is wrong with a datastore, by path; empty if it can be used.
 * No reason repeats the endpoint: it may hold a password.
 */
export function checkDatastore(datastore: Datastore): FieldError[] {
  const { kind, endpoint } = datastore
  const alone = takesNothing[kind]
  if (alone !== undefined) return checkAlone(datastore, alone)
  const why = endpoint === undefined ? `${kind} needs an endpoint` : problemOf[kind as External](endpoint)
  return [...(why ? [{ path: 'datastore.endpoint', reason: why }] : []), ...checkPem(datastore)]
}

/**
 * K3s' own keys for a datastore that `checkDatastore` accepted. SQLite is what K3s takes without any; who begins an embedded etcd is
 * decided at redeem, and who logs in to a managed one at the claim.
 */
export function datastoreConfig(datastore: Datastore): DatastoreConfig {
  if (takesNothing[datastore.kind] !== undefined) return { keys: {}, files: [] }
  const given = pemKeys.filter((key) => datastore[key] !== undefined)
  const endpoint = datastore.endpoint as string
  return {
    keys: Object.fromEntries([
      ['datastore-endpoint', datastore.kind === 'mysql' ? withScheme(endpoint) : endpoint],
      ...given.map((key) => [`datastore-${key}`, pem[key].path]),
    ]),
    files: given.map((key) => ({ path: pem[key].path, content: datastore[key] as string })),
  }
}

/** The same for a managed datastore, but for the endpoint, in which each server's own login stands. */
export function managedConfig(ca: string): DatastoreConfig {
  return { keys: { 'datastore-cafile': pem.cafile.path }, files: [{ path: pem.cafile.path, content: ca }] }
}

/**
 * K3s' environment beside a managed datastore. kine's pool has no bound of its own (reference: K3s issues 9596, 10733), and its login
 * has one of 40: what is left is for a start that begins while its old sessions end.
 */
export const managedEnv = { KINE_DATASTORE_MAX_OPEN_CONNECTIONS: '30' } as const

function checkAlone(datastore: Datastore, reason: string): FieldError[] {
  return (['endpoint', ...pemKeys] as const)
    .filter((key) => datastore[key] !== undefined)
    .map((key) => ({ path: `datastore.${key}`, reason }))
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
