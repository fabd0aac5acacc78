import type { Connection, RowDataPacket } from 'mysql2/promise'
import { type MysqlEndpoint, parseMysql } from '../k3s/endpoint-mysql.ts'
import { connectionProblem } from './connection-words.ts'
import { connectionBudget, error, type Finding, type Look, note, otherClusters, warning } from './finding.ts'

const patience = 10_000

/**
 * Looks at a MySQL or MariaDB as K3s would use it. Reads only.
 * @param look its endpoint passed `mysqlProblem`
 */
export async function probeMysql(look: Look): Promise<Finding[]> {
  const target = parseMysql(look.endpoint) as MysqlEndpoint
  const found = tlsFindings(look, target)
  let connection: Connection
  try {
    connection = await open(look, target)
  } catch (thrown) {
    return [...found, refusal(thrown, target)]
  }
  try {
    return [...found, ...(await inspect(connection, look, target))]
  } finally {
    await connection.end().catch(() => {})
  }
}

const hasCertificates = ({ cafile, certfile, keyfile }: Look) => Boolean(cafile ?? certfile ?? keyfile)
const verifies = (look: Look, { parameters }: MysqlEndpoint) => hasCertificates(look) || parameters?.tls === 'true'

function tlsFindings(look: Look, target: MysqlEndpoint): Finding[] {
  if (verifies(look, target)) return []
  const clear = !['skip-verify', 'preferred'].includes(target.parameters?.tls ?? '')
  const text = clear ? 'all of the cluster crosses the network in the clear' : 'anybody on the way can pose as it'
  return [warning('unverified', `${text}: give a cafile, or tls=true for an authority that the servers trust`)]
}

async function open(look: Look, target: MysqlEndpoint): Promise<Connection> {
  const { host, port, user, password } = target
  const tls = target.parameters?.tls
  const authorities = { ca: look.cafile, cert: look.certfile, key: look.keyfile }
  const certificates = Object.fromEntries(Object.entries(authorities).filter(([, pem]) => pem !== undefined))
  const secure = verifies(look, target)
    ? { ssl: { ...certificates, rejectUnauthorized: true, verifyIdentity: true } }
    : tls === 'skip-verify'
      ? { ssl: { rejectUnauthorized: false } }
      : {}
  // Without a database first: that it is missing is no refusal.
  // 8 MB that most servers never need.
  const { createConnection } = await import('mysql2/promise')
  return createConnection({ host, port, user, password, connectTimeout: patience, ...secure })
}

function refusal(thrown: unknown, { user }: MysqlEndpoint): Finding {
  const { code = '', errno } = thrown as { code?: string; errno?: number }
  if (errno === 1045 || code === 'ER_ACCESS_DENIED_ERROR')
    return error('wrong_password', `it refuses user ${user}, its password, or its host`)
  if (code === 'HANDSHAKE_NO_SSL_SUPPORT') return error('no_tls', 'TLS is off there')
  if (errno === 1040) return error('too_many_connections', 'all of its connections are taken')
  return connectionProblem(thrown) ?? error('failed', `the connection failed (${code || 'no code'})`)
}

type Facts = RowDataPacket & {
  version: string
  connections: number
  read_only: number
  exists_already: number
  may_create: number
}

async function inspect(connection: Connection, look: Look, { database }: MysqlEndpoint): Promise<Finding[]> {
  const [[facts]] = await connection.query<Facts[]>(
    `select version() as version, @@max_connections as connections, @@global.read_only as read_only,
      exists (select 1 from information_schema.schemata where schema_name = ?) as exists_already,
      exists (select 1 from information_schema.schema_privileges where ? like table_schema and privilege_type = 'CREATE')
        or exists (select 1 from information_schema.user_privileges where privilege_type = 'CREATE') as may_create`,
    [database, database],
  )
  const found: Finding[] = facts ? judge(facts, database) : []
  if (!facts?.exists_already) return [...found, ...connectionBudget(facts?.connections ?? 0, look.servers)]
  const [tables] = await connection.query<RowDataPacket[]>(
    `select 1 from information_schema.tables where table_schema = ? and table_name = 'kine' and table_type = 'BASE TABLE'`,
    [database],
  )
  const names = tables.length > 0 ? await bootstrapNames(connection, database) : []
  return [...found, ...connectionBudget(facts.connections, look.servers), ...otherClusters(names, look.bootstrapName)]
}

function judge(facts: Facts, database: string): Finding[] {
  const found: Finding[] = []
  if (facts.read_only) found.push(error('standby', 'it takes no writes: name the primary'))
  if (!facts.may_create)
    found.push(error('no_privilege', `this user may not create in ${database}: GRANT ALL ON ${database}.* to it`))
  else if (!facts.exists_already)
    found.push(note('no_database', `its database ${database} does not exist yet; K3s makes it, since this user may`))
  return found
}

// The name passed parseMysql: letters, digits and _ only.
async function bootstrapNames(connection: Connection, database: string): Promise<string[]> {
  const [rows] = await connection.query<(RowDataPacket & { name: string })[]>(
    `select name from ${database}.kine where name like '/bootstrap/%' limit 100`,
  )
  return rows.map(({ name }) => name)
}
