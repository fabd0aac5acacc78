import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import postgres, { type Sql } from 'postgres'
import { connectionProblem } from './connection-words.ts'
import { connectionBudget, error, type Finding, type Look, note, otherClusters, warning } from './finding.ts'

/** Seconds that a connection may take. */
const patience = 10

type Target = { host: string; port: number; user: string; password: string; database: string; mode: string }

/**
 * Looks at a PostgreSQL as K3s would use it: the same login, database, TLS and tables. Reads only.
 * @param look its endpoint passed `postgresProblem`
 */
export async function probePostgres(look: Look): Promise<Finding[]> {
  const target = targetOf(look)
  const found = tlsFindings(target.mode)
  const opened = await open(look, target)
  found.push(...opened.findings)
  if (!opened.sql) return found
  try {
    return [...found, ...(await inspect(opened.sql, look))]
  } finally {
    await opened.sql.end({ timeout: 2 })
  }
}

// kine pkg/drivers/pgsql: certificates mean verify-full unless the endpoint says otherwise; without them pgx takes what it gets.
function targetOf({ endpoint, cafile, certfile, keyfile }: Look): Target {
  const url = new URL(endpoint)
  const certificates = cafile !== undefined || certfile !== undefined || keyfile !== undefined
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port || 5432),
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: decodeURIComponent(url.pathname.slice(1)).toLowerCase(),
    mode: url.searchParams.get('sslmode') ?? (certificates ? 'verify-full' : 'prefer'),
  }
}

function tlsFindings(mode: string): Finding[] {
  if (mode === 'verify-full' || mode === 'verify-ca') return []
  const text =
    mode === 'disable' || mode === 'allow' || mode === 'prefer'
      ? 'the password and all of the cluster may cross the network in the clear: give a cafile, and sslmode=verify-full'
      : 'anybody on the way can pose as it: give a cafile, and sslmode=verify-full'
  return [warning('unverified', text)]
}

function tlsOf({ cafile, certfile, keyfile }: Look, { host, mode }: Target) {
  if (mode === 'disable') return false
  if (mode === 'prefer' || mode === 'allow') return 'prefer' as const
  const verify = mode.startsWith('verify')
  const whose = (_: string, certificate: PeerCertificate) => checkServerIdentity(host, certificate)
  return {
    ca: cafile,
    cert: certfile,
    key: keyfile,
    rejectUnauthorized: verify,
    checkServerIdentity: mode === 'verify-full' ? whose : () => undefined,
  }
}

type Opened = { sql: Sql | undefined; findings: Finding[] }

async function open(look: Look, target: Target): Promise<Opened> {
  // A pooler takes no settings at the start but those it knows; PostgreSQL takes all of its own.
  const first = await attempt(look, target, { geqo: 'on' })
  if (first.sql || !isPooler(first.thrown)) return settled(look, target, first)
  const second = await settled(look, target, await attempt(look, target, {}))
  const text =
    'pgbouncer stands before it, which K3s does not get on with (K3s issue 14525): connect to PostgreSQL itself'
  return { ...second, findings: [error('pgbouncer', text), ...second.findings] }
}

type Ssl = NonNullable<postgres.Options<Record<string, never>>['ssl']>
type Attempt = { sql: Sql; thrown?: undefined } | { sql?: undefined; thrown: unknown }

async function attempt(look: Look, target: Target, connection: Record<string, string>): Promise<Attempt> {
  const { host, port, user, password, database } = target
  const options: postgres.Options<Record<string, never>> = {
    host,
    port,
    user,
    password,
    database,
    max: 1,
    connect_timeout: patience,
    fetch_types: false,
    onnotice: () => {},
    connection: { application_name: 'rollcall doctor', ...connection },
  }
  // postgres.js hands its `ssl` to tls.connect; its types know fewer of them.
  const sql = postgres({ ...options, ssl: tlsOf(look, target) as Ssl })
  try {
    await sql`select 1`
    return { sql }
  } catch (thrown) {
    await sql.end({ timeout: 1 }).catch(() => {})
    return { thrown }
  }
}

async function settled(look: Look, target: Target, tried: Attempt): Promise<Opened> {
  if (tried.sql) return { sql: tried.sql, findings: [] }
  const { code = '', message = '' } = tried.thrown as { code?: string; message?: string }
  if (code === '3D000') return { sql: undefined, findings: [await missingDatabase(look, target)] }
  return { sql: undefined, findings: [refusal(String(code), message, tried.thrown)] }
}

const isPooler = (thrown: unknown) => /unsupported startup parameter/i.test((thrown as Error)?.message ?? '')

function refusal(code: string, message: string, thrown: unknown): Finding {
  if (code === '28P01') return error('wrong_password', 'it refuses the password')
  if (code === '28000' && /SSL off|no encryption/i.test(message))
    return error('tls_wanted', 'it lets this user in over TLS only: leave sslmode=disable out')
  if (code === '28000')
    return error('not_let_in', 'its pg_hba.conf, or the role itself, does not let this user in from here')
  if (code === '53300') return error('too_many_connections', 'all of its connections are taken')
  if (code === '57P03') return error('starting', 'it is starting or stopping: try again')
  const problem = connectionProblem(thrown)
  if (problem) return problem
  if (/SSL|ECONNRESET|CONNECTION_CLOSED|CONNECTION_DESTROYED/i.test(`${code} ${message}`))
    return error('no_tls', 'it ends the connection where TLS should begin: TLS is off there, or this is no PostgreSQL')
  return error('failed', `the connection failed (${code || 'no code'})`)
}

// K3s looks into database `postgres` and makes its own one, if it may.
async function missingDatabase(look: Look, target: Target): Promise<Finding> {
  const text = `its database ${target.database} does not exist`
  const tried = await attempt(look, { ...target, database: 'postgres' }, {})
  if (!tried.sql) return error('no_database', `${text}, and this user cannot make it`)
  try {
    const [row] = await tried.sql`select rolcreatedb or rolsuper as may from pg_roles where rolname = current_user`
    if (row?.may) return note('no_database', `${text} yet; K3s makes it, since this user may`)
    return error('no_database', `${text}, and this user may not make it: create it, owned by this user`)
  } finally {
    await tried.sql.end({ timeout: 1 })
  }
}

type Facts = {
  version: number
  standby: boolean
  connections: number
  may_create_database: boolean
  may_create_table: boolean | null
  schema: string | null
  kine: string | null
  collation: string | null
}

async function inspect(sql: Sql, look: Look): Promise<Finding[]> {
  return sql.begin('read only', async (tx) => {
    await tx`set local statement_timeout = '5s'`
    const [facts] = await tx<Facts[]>`
      select current_setting('server_version_num')::int as version, pg_is_in_recovery() as standby,
        current_setting('max_connections')::int as connections, r.rolcreatedb as may_create_database,
        has_schema_privilege(current_schema(), 'create') as may_create_table, current_schema() as schema,
        k.relkind::text as kine, (select collname from pg_collation c where c.oid = a.attcollation) as collation
      from pg_roles r
      left join pg_class k on k.oid = to_regclass('kine')
      left join pg_attribute a on a.attrelid = k.oid and a.attname = 'name'
      where r.rolname = current_user`
    const found = judge(facts as Facts, look)
    if (facts?.kine !== 'r') return found
    const rows = await tx<{ name: string }[]>`select name from only kine where name like '/bootstrap/%' limit 100`
    return [
      ...found,
      ...otherClusters(
        rows.map(({ name }) => name),
        look.bootstrapName,
      ),
    ]
  })
}

function judge(facts: Facts, { servers }: Look): Finding[] {
  const found: Finding[] = []
  if (facts.standby) found.push(error('standby', 'it is a standby, which takes no writes: name the primary'))
  if (facts.version < 120_000)
    found.push(warning('old', 'it is older than PostgreSQL 12, which K3s is no longer tested on'))
  if (facts.kine === null && facts.schema === null)
    found.push(error('no_schema', 'the search_path of this user leads to no schema'))
  else if (facts.kine === null && facts.may_create_table !== true) {
    const text = `this user may not make tables in schema ${facts.schema}: since PostgreSQL 15 it must own the database`
    found.push(error('no_privilege', text))
  }
  if (facts.kine !== null && facts.kine !== 'r') found.push(error('not_a_table', 'its kine is no table'))
  if (facts.kine === 'r' && facts.collation !== 'C') {
    const text =
      'its kine table sorts names by a locale: K3s 1.34.10, 1.35.7 and 1.36.3 crash on it (K3s issue 14505); start it once with KINE_SCHEMA_MIGRATION=2'
    found.push(warning('collation', text))
  }
  if (!facts.may_create_database)
    found.push(
      note('no_createdb', 'K3s will log that it may not create databases: that does not matter, this one exists'),
    )
  return [...found, ...connectionBudget(facts.connections, servers)]
}
