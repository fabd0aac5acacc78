import type { Sql, TransactionSql } from 'postgres'
import { clustersDatabase, loginRole, nodesGroup, ownerRole, readerRole } from '../k3s/datastore-names.ts'
import type { OwnServer } from './connect.ts'
import { dropElsewhere } from './elsewhere.ts'
import { fenceRole } from './fence.ts'
import { takeGrantsOn } from './granted-on.ts'
import { secret } from './provision.ts'
import { thinOwned } from './thin.ts'

/** Sessions that one server node may hold: so that no site can take all of them (reference: K3s issues 9596, 10733). */
export const connectionLimit = 40

/**
 * Makes a node's login, or makes it good again: whatever the node did to its own role is undone, and it may log in.
 * @param sql our own role in the clusters' database
 */
export async function makeLogin(sql: Sql, clusterId: string, enrollmentId: string, password: string): Promise<void> {
  const [login, owner] = [loginRole(enrollmentId), ownerRole(clusterId)]
  await sql.begin(async (tx) => {
    const [found] = await tx`select from pg_roles where rolname = ${login}`
    const options = `login ${secret(password)} connection limit ${connectionLimit}`
    if (found) {
      await tx.unsafe(`alter role ${login} ${options}`)
      await tx.unsafe(`alter role ${login} reset all`)
      await tx.unsafe(`alter role ${login} in database ${clustersDatabase} reset all`)
      await tx.unsafe(`grant ${owner}, ${nodesGroup} to ${login}`)
    } else {
      await tx.unsafe(`create role ${login} ${options} in role ${owner}, ${nodesGroup}`)
    }
    await tx.unsafe(`alter role ${login} set role = '${owner}'`)
    await tx.unsafe(`alter role ${login} set search_path = '${owner}'`)
    // Without it we may not end its sessions.
    await tx.unsafe(`grant ${login} to current_user`)
  })
}

/**
 * Fences a node's login and drops it. What it made itself (`SET ROLE none; CREATE TABLE …`) goes to its cluster's owner; what it left
 * in other databases goes.
 */
export async function dropLogin(server: OwnServer, sql: Sql, clusterId: string, enrollmentId: string): Promise<void> {
  const login = loginRole(enrollmentId)
  await fenceRole(sql, login)
  await dropElsewhere(server, sql, login)
  await takeGrantsOn(sql, login)
  await thinOwned(sql, login, await existing(sql, ownerRole(clusterId)))
  await sql.begin(async (tx) => {
    const [found] = await tx<{ owner: boolean }[]>`
      select exists (select from pg_roles where rolname = ${ownerRole(clusterId)}) as owner
      from pg_roles where rolname = ${login}`
    if (!found) return
    if (found.owner) {
      await tx.unsafe(`reassign owned by ${login} to ${ownerRole(clusterId)}`)
      await shutDoors(tx, clusterId)
    }
    await tx.unsafe(`drop owned by ${login} cascade`)
    await tx.unsafe(`drop role ${login}`)
  })
}

async function existing(sql: Sql, role: string): Promise<string | undefined> {
  return (await sql`select from pg_roles where rolname = ${role}`).length > 0 ? role : undefined
}

/** Takes from others what a node granted them of its cluster's schema: through a node of another cluster it would go on after its end. */
async function shutDoors(tx: TransactionSql, clusterId: string): Promise<void> {
  const owner = ownerRole(clusterId)
  const others = await tx<{ name: string }[]>`
    select distinct case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end as name
    from pg_namespace n, aclexplode(n.nspacl) a
    where n.nspname = ${owner} and a.grantee <> n.nspowner
      and (a.grantee = 0 or pg_get_userbyid(a.grantee) <> ${readerRole(clusterId)})`
  if (others.length === 0) return
  await tx.unsafe(`set local role ${owner}`)
  await tx.unsafe(`revoke all on schema ${owner} from ${others.map(({ name }) => name).join(', ')} cascade`)
  await tx.unsafe('reset role')
}
