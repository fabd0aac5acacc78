import { randomBytes } from 'node:crypto'
import type { Sql, TransactionSql } from 'postgres'
import { clustersDatabase, nodesGroup, observerRole, probeRole } from '../k3s/datastore-names.ts'
import { scramVerifier } from '../postgres/scram.ts'
import { completeReaders, renewReaders } from './complete-readers.ts'
import { connect, type OwnServer } from './connect.ts'
import { settled } from './race.ts'
import { makeReadersSchema } from './reader.ts'
import { makeTableGuard } from './table-guard.ts'

/** Any constant will do, as long as it is ours: "clusters" in hex. */
const lockKey = '7164230245974110835'

/** What keeps managed datastores from being used, in a sentence for the admin. */
export class Unusable extends Error {
  override readonly name = 'Unusable'
}

/** Passwords of the two logins that are not a node's. */
export type Passwords = { observer: string; probe: string }

/**
 * Makes what all managed clusters share, once, however many servers start together: their database, closed to PUBLIC, the group of
 * all node logins, the observer and the probe. A half-done one is completed.
 * @throws Unusable if our role may not do it, or if what is there cannot be used
 */
export async function provision(server: OwnServer, passwords: Passwords): Promise<void> {
  // A session's lock, in our own database: in the clusters' any node could take the same one and keep it.
  const own = connect(server, { max: 1 })
  const inside = connect(server, { database: clustersDatabase, max: 1 })
  try {
    await own`select pg_advisory_lock(${lockKey}::bigint)`
    await checkOurselves(own)
    await settled(() => makeDatabase(own))
    await settled(() => closeAndPopulate(inside, passwords))
    await settled(() => renewReaders(inside))
    await settled(() => completeReaders(inside))
    await settled(() => renewPasswords(server, inside, passwords))
  } finally {
    await Promise.all([own.end({ timeout: 5 }), inside.end({ timeout: 5 })])
  }
}

async function checkOurselves(own: Sql): Promise<void> {
  const [we] = await own<{ name: string; makes_roles: boolean; makes_databases: boolean; version: number }[]>`
    select rolname as name, rolcreaterole or rolsuper as makes_roles,
      rolcreatedb or rolsuper or exists (select from pg_database where datname = ${clustersDatabase}) as makes_databases,
      current_setting('server_version_num')::int as version
    from pg_roles where rolname = current_user`
  if (!we) throw new Unusable('the role that Rollcall logged in as is gone')
  if (we.version < 150_000) throw new Unusable('managed datastores need PostgreSQL 15 or later')
  const missing = [we.makes_roles ? '' : 'CREATEROLE', we.makes_databases ? '' : 'CREATEDB'].filter(
    (word) => word !== '',
  )
  if (missing.length === 0) return
  throw new Unusable(
    `managed datastores need more than the role ${we.name} may do: as a superuser, ALTER ROLE "${we.name}" ${missing.join(' ')}`,
  )
}

async function makeDatabase(own: Sql): Promise<void> {
  const [found] = await own<{ ours: boolean; utf8: boolean; plain: boolean; owner: string }[]>`
    select pg_has_role(datdba, 'usage') as ours, pg_get_userbyid(datdba) as owner,
      pg_encoding_to_char(encoding) = 'UTF8' as utf8, datcollate = 'C' as plain
    from pg_database where datname = ${clustersDatabase}`
  if (!found) {
    await own.unsafe(
      `create database ${clustersDatabase} template template0 encoding 'UTF8' locale_provider libc lc_collate 'C' lc_ctype 'C'`,
    )
    return
  }
  if (!found.ours) throw new Unusable(`the database ${clustersDatabase} exists already and belongs to ${found.owner}`)
  if (!found.utf8 || !found.plain) {
    throw new Unusable(`the database ${clustersDatabase} exists already, and not with encoding UTF8 and collation C`)
  }
}

type State = {
  open_database: boolean
  open_schema: boolean
  group: boolean
  observer: boolean
  probe: boolean
  ours: boolean
}

async function closeAndPopulate(inside: Sql, passwords: Passwords): Promise<void> {
  const [state] = await inside<State[]>`
    select has_database_privilege('public', ${clustersDatabase}, 'connect')
        or has_database_privilege('public', ${clustersDatabase}, 'temporary') as open_database,
      exists (select from pg_namespace where nspname = 'public' and
        (has_schema_privilege('public', oid, 'usage') or has_schema_privilege('public', oid, 'create'))) as open_schema,
      exists (select from pg_roles where rolname = ${nodesGroup}) as group,
      exists (select from pg_roles where rolname = ${observerRole}) as observer,
      exists (select from pg_roles where rolname = ${probeRole}) as probe,
      -- From PostgreSQL 16 on, CREATEROLE rules only over roles that it has ADMIN OPTION on.
      current_setting('server_version_num')::int < 160000 or not exists (
        select from pg_roles where rolname in (${nodesGroup}, ${observerRole}, ${probeRole})
        and not pg_has_role(oid, 'member with admin option')) as ours`
  if (!state?.ours) throw notOurs()
  await inside.begin(async (tx) => {
    if (state.open_database) await tx.unsafe(`revoke all on database ${clustersDatabase} from public`)
    if (state.open_schema) await tx.unsafe('revoke all on schema public from public')
    if (!state.group) await tx.unsafe(`create role ${nodesGroup} nologin`)
    // NOINHERIT: should somebody make it a member of something after all, that gives it nothing.
    if (!state.observer) await tx.unsafe(`create role ${observerRole} login noinherit ${secret(passwords.observer)}`)
    if (!state.probe) {
      await tx.unsafe(
        `create role ${probeRole} login ${secret(passwords.probe)} connection limit 10 in role ${nodesGroup}`,
      )
    }
    await grantConnect(tx, observerRole)
    await grantConnect(tx, probeRole)
    // Only a member may end its sessions (lock-watch.ts, stuck-reads.ts), and there may be no lock left to become one then.
    const [member] = await tx<{ ours: boolean }[]>`select pg_has_role(${observerRole}::name, 'usage') as ours`
    if (!member?.ours) await tx.unsafe(`grant ${observerRole} to current_user`)
    await makeReadersSchema(tx)
    await makeTableGuard(tx)
  })
}

/** Lets a role into the clusters' database, unless it may come in already. */
export async function grantConnect(tx: TransactionSql, role: string): Promise<void> {
  const [row] = await tx<
    { may: boolean }[]
  >`select has_database_privilege(${role}, ${clustersDatabase}, 'connect') as may`
  if (!row?.may) await tx.unsafe(`grant connect on database ${clustersDatabase} to ${role}`)
}

// A database restored beside other keys, e.g.: the passwords are derived, so they cannot be asked for.
async function renewPasswords(server: OwnServer, inside: Sql, passwords: Passwords): Promise<void> {
  for (const [user, password] of [
    [observerRole, passwords.observer],
    [probeRole, passwords.probe],
  ] as const) {
    const session = connect(server, { database: clustersDatabase, login: { user, password }, max: 1 })
    try {
      await session`select 1`
    } catch (error) {
      // 28P01: wrong password; 28000: not permitted to log in
      if (!/^28/.test((error as { code?: string }).code ?? '')) throw error
      await inside.unsafe(`alter role ${user} login ${secret(password)}`)
    } finally {
      await session.end({ timeout: 1 })
    }
  }
}

/** `PASSWORD '…'` for a statement: a verifier, since a statement that fails is written to Postgres' log whole. */
export const secret = (password: string) => `password '${scramVerifier(password, randomBytes(16))}'`

function notOurs(): Unusable {
  const roles = [nodesGroup, observerRole, probeRole].join(', ')
  return new Unusable(
    `one of the roles ${roles} exists already and was made by somebody else: as a superuser, drop it, or GRANT it to Rollcall's role WITH ADMIN OPTION`,
  )
}
