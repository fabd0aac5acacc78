import postgres, { type Sql } from 'postgres'
import { ProfileSpec } from '../../src/documents/profile.ts'
import { migrate } from '../../src/store/migrate.ts'
import type { Vault } from '../../src/store/vault.ts'
import type { Pinned } from './load.ts'
import type { Connection } from './programs.ts'

/** A roll to measure: so many devices, so many of them a cluster, the first ones with real keys. */
export type Roll = { name: string; devices: number; perCluster: number }

const profile = 'prf_bench'

/** Makes a database with the whole roll in it. Filled by SQL: it is the size that counts, not the way in. */
export async function makeRoll(base: Connection, roll: Roll, pinned: readonly Pinned[], vault: Vault) {
  const connection = { ...base, database: roll.name }
  await asking(base, (sql) => sql.unsafe(`create database ${roll.name}`))
  await migrate('postgres://localhost', connection)
  await asking(connection, async (sql) => {
    await addProfile(sql)
    await addClusters(sql, Math.ceil(roll.devices / roll.perCluster), vault)
    await addDevices(sql, roll)
    await addIdentities(sql, roll, pinned)
    await sql`vacuum analyze`
  })
  return connection
}

/** As if nobody had ever called in. */
export async function forgetEnrollments(connection: Connection): Promise<void> {
  await asking(connection, async (sql) => {
    await sql`truncate enrollments, redeemed_nonces, events, audit, alarms, tasks, datastore_logins`
    await sql`update devices set state = 'registered', version = 1, assurance = null where version > 1`
    await sql`vacuum analyze devices`
  })
}

export async function asking<T>(connection: Connection, ask: (sql: Sql) => Promise<T>): Promise<T> {
  const sql = postgres('postgres://localhost', { ...connection, max: 1, onnotice: () => {} })
  try {
    return await ask(sql)
  } finally {
    await sql.end()
  }
}

async function addProfile(sql: Sql): Promise<void> {
  const spec = ProfileSpec.parse({ name: 'edge', document: 'cloud-init', role: 'agent', template: 'builtin:debian' })
  await sql`insert into profiles (id, name, revision, created_at, updated_at) values (${profile}, 'edge', 1, now(), now())`
  await sql`insert into profile_revisions (profile_id, revision, spec, created_at, created_by)
    values (${profile}, 1, ${sql.json(spec as never)}, now(), 'bench')`
}

async function addClusters(sql: Sql, count: number, vault: Vault): Promise<void> {
  // A sealed value opens in its own row only, so each is made here and sent in slices.
  for (let from = 0; from < count; from += 2_000) {
    const ids = Array.from({ length: Math.min(2_000, count - from) }, (_, i) => `clu_bench_${from + i}`)
    const sealed = (column: string, text: string) => ids.map((id) => hex(vault.seal(`clusters/${id}/${column}`, text)))
    await sql`insert into clusters (id, name, k3s_version, api_endpoint, ca_hash, allow_unpinned, datastore_kind,
        datastore_sealed, server_token_sealed, state, created_at, updated_at)
      select id, replace(id, '_', '-'), 'v1.36.3+k3s1', 'https://api.bench.example:6443', repeat('ab', 32), true, 'sqlite',
        decode(datastore, 'hex'), decode(token, 'hex'), 'up', now(), now()
      from unnest(${ids}::text[], ${sealed('datastore', '{"kind":"sqlite"}')}::text[],
        ${sealed('server_token', 'f0'.repeat(32))}::text[]) as c(id, datastore, token)`
  }
}

async function addDevices(sql: Sql, { devices, perCluster }: Roll): Promise<void> {
  await sql`insert into devices (id, serial, serial_key, profile_id, cluster_id, hostname, state_since, created_at, updated_at)
    select 'dev_bench_' || n, 'BENCH-' || n, 'bench-' || n, ${profile}, 'clu_bench_' || n / ${perCluster}::int,
      'bench-' || n, now(), now(), now()
    from generate_series(0, ${devices}::int - 1) as n order by md5(n::text)`
}

// Nobody claims as the others: their keys need no private half, only a place in the index.
async function addIdentities(sql: Sql, { devices }: Roll, pinned: readonly Pinned[]): Promise<void> {
  const real = pinned.slice(0, devices)
  await sql`insert into identities (device_id, thumbprint, jwk, created_at)
    select 'dev_bench_' || n - 1, thumbprint, jwk, now()
    from unnest(${real.map((p) => p.thumbprint)}::text[], ${real.map((p) => JSON.stringify(p.jwk))}::text[]::jsonb[])
      with ordinality as i(thumbprint, jwk, n)`
  await sql`insert into identities (device_id, thumbprint, jwk, created_at)
    select 'dev_bench_' || n, left(translate(encode(sha256(n::text::bytea), 'base64'), '+/', '-_'), 43),
      jsonb_build_object('kty', 'EC', 'crv', 'P-256', 'x', md5(n::text), 'y', md5(n::text)), now()
    from generate_series(${real.length}::int, ${devices}::int - 1) as n order by md5(n::text)`
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
