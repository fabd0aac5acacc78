import type { Sql } from 'postgres'
import type { SharedPart } from '../documents/prepared-text.ts'
import type { Assurance } from '../documents/profile.ts'
import type { PublicJwk } from '../identity/jwk.ts'

/** What a claim asks for. */
export type ClaimLookup = {
  /** Serial in lower case */
  serialKey: string
  /** SHA-256 of the claim, hex: finds its retry */
  claimHash: string
  nonce: string
}

/** One row with everything that decides a claim; what is immutable or counted by a version is cached, not fetched again. */
export type ClaimRow = {
  n: number
  device_id: string
  serial: string
  state: string
  device_version: number
  hostname: string | null
  device_role: 'server' | 'agent' | null
  min_assurance: Assurance | null
  labels: Record<string, string>
  vars: Record<string, never>
  note: string
  reenroll_granted: boolean
  thumbprint: string | null
  jwk: PublicJwk | null
  profile_id: string
  revision: number
  cluster_id: string | null
  cluster_version: number | null
  cluster_state: string | null
  ca_hash: string | null
  api_endpoint: string | null
  sole_server: string | null
  nonce_used: boolean
  enrollment_id: string | null
  enrolled_at: number | null
  applied: boolean
  joined: boolean
  same_claim: boolean
  document_type: string | null
  document_digest: string | null
  document_sealed: Uint8Array | null
  document_shared: Uint8Array | null
}

// `unnest` instead of `any`: the row number survives, so results map to claims by number, never by key.
const select = `
select q.n::int, d.id as device_id, d.serial, d.state, d.version as device_version, d.hostname, d.role as device_role,
  d.min_assurance, d.labels, d.vars, d.note, d.reenroll_granted, i.thumbprint, i.jwk, d.profile_id, p.revision,
  d.cluster_id, c.version as cluster_version, c.state as cluster_state, c.ca_hash, c.api_endpoint, s.id as sole_server,
  rn.nonce is not null as nonce_used,
  e.id as enrollment_id, extract(epoch from e.created_at)::float8 as enrolled_at,
  e.applied_at is not null as applied, e.joined_at is not null and not d.must_rejoin as joined,
  coalesce(e.claim_hash = decode(q.claim_hash, 'hex'), false) as same_claim,
  e.document_type, e.document_digest,
  case when e.claim_hash = decode(q.claim_hash, 'hex') then e.document_sealed end as document_sealed,
  case when e.claim_hash = decode(q.claim_hash, 'hex') then
    (select p.packed from shared_parts p where p.hash = e.document_shared) end as document_shared
from unnest($1::text[], $2::text[], $3::text[]) with ordinality as q(serial_key, claim_hash, nonce, n)
join devices d on d.serial_key = q.serial_key
join profiles p on p.id = d.profile_id
left join identities i on i.device_id = d.id and i.ended_at is null
left join clusters c on c.id = d.cluster_id
left join devices s on s.sole_server_of = d.cluster_id
left join enrollments e on e.device_id = d.id and e.ended_at is null
left join redeemed_nonces rn on rn.nonce = q.nonce`

/** The one select of a claim, shared by those that arrive together. A claim whose serial is not on the roll has no row. */
export async function selectClaims(sql: Sql, claims: readonly ClaimLookup[]): Promise<(ClaimRow | undefined)[]> {
  const columns = [claims.map((c) => c.serialKey), claims.map((c) => c.claimHash), claims.map((c) => c.nonce)]
  const rows = await sql.unsafe<ClaimRow[]>(select, columns as never[], { prepare: true })
  const results: (ClaimRow | undefined)[] = claims.map(() => undefined)
  for (const row of rows) results[row.n - 1] = row
  return results
}

/** One accepted claim, ready to be written. Times are Unix seconds; hashes hex; sealed values base64. */
export type NewEnrollment = {
  device_id: string
  device_version: number
  enrollment_id: string
  cluster_id: string
  profile_id: string
  profile_revision: number
  role: 'server' | 'agent'
  hostname: string
  assurance: string
  thumbprint: string
  claim_hash: string
  nonce: string
  at: number
  document_type: string
  document_digest: string
  document_sealed: string
  /** What the sealed document lacks; written once for all that name it */
  document_shared: SharedPart | null
  join_hash: string
  join_sealed: string | null
  join_expires_at: number
  /** Agent only: the token's public half, and the task that publishes it */
  join_token_id: string | null
  task_id: string | null
  task_sealed: string | null
  report_hash: string
  report_expires_at: number
  node_hash: string | null
  /** Set for the one server of a SQLite cluster. */
  sole_server_of: string | null
  /** The last server of a SQLite or embedded etcd cluster starts over: the cluster is virgin again. */
  resets_cluster: boolean
  /** The live enrollment that this one replaces */
  ends: string | null
  /** Timeline entries; the first stands in the audit as well */
  events: { name: string; detail: Record<string, unknown> }[]
}

// Each part hangs on `moved`: a device that changed since it was read moves nothing, and then nothing else is written. It carries
// its input along, so that nothing joins the input twice. The range on `n` says "few rows" to the planner, which would read all devices.
const moved = `
with input as (
  select i.*, to_timestamp(i.at) as time from json_to_recordset($1::text::json) as i(
    n int, device_id text, device_version int, enrollment_id text, cluster_id text, profile_id text, profile_revision int,
    role text, hostname text, assurance text, thumbprint text, claim_hash text, nonce text, at float8,
    document_type text, document_digest text, document_sealed text, document_shared text, join_hash text, join_sealed text, join_expires_at float8,
    join_token_id text, task_id text, task_sealed text, report_hash text, report_expires_at float8, node_hash text,
    sole_server_of text, resets_cluster bool, ends text, events json)
  where i.n between 0 and 1000000
), moved as (
  update devices d set state = 'enrolled', state_since = i.time, assurance = i.assurance, failure = null,
    reenroll_granted = false, must_rejoin = false, sole_server_of = coalesce(i.sole_server_of, d.sole_server_of),
    version = d.version + 1, updated_at = i.time
  from input i where d.id = i.device_id and d.version = i.device_version returning i.*, d.serial
), redeemed as (
  insert into redeemed_nonces (nonce, used_in, redeemed_at)
  select nonce, decode(claim_hash, 'hex'), time from moved returning 1
), shared as (
  insert into shared_parts (hash, packed)
  select decode(hash, 'hex'), decode(packed, 'base64') from json_to_recordset($2::text::json) as p(hash text, packed text)
  on conflict do nothing returning 1
)`

// Most devices enrol for the first time, and an empty table's statistics make the planner read all of it later on.
const ended = `, ended as (
  update enrollments e set ended_at = i.time, end_reason = 'replaced', document_sealed = null, join_sealed = null,
    join_expires_at = least(e.join_expires_at, i.time)
  from moved i where e.id = i.ends and e.ended_at is null returning 1
)`

const enrolled = `, enrolled as (
  insert into enrollments (id, device_id, cluster_id, profile_id, profile_revision, role, hostname, assurance, thumbprint,
    claim_hash, created_at, document_type, document_digest, document_sealed, document_shared, join_hash, join_sealed, join_expires_at,
    join_token_id, report_hash, report_expires_at, node_hash)
  select enrollment_id, device_id, cluster_id, profile_id, profile_revision, role, hostname, assurance, thumbprint,
    decode(claim_hash, 'hex'), time, document_type, document_digest,
    decode(document_sealed, 'base64'), decode(document_shared, 'hex'), decode(join_hash, 'hex'), decode(join_sealed, 'base64'),
    to_timestamp(join_expires_at), join_token_id, decode(report_hash, 'hex'), to_timestamp(report_expires_at),
    decode(node_hash, 'hex')
  from moved`

// `ended` must be complete before the insert, or the unique index on live enrollments would see both: the count forces that.
const afterEnded = `
  where (select count(*) from ended) >= 0`

const noted = ` returning 1
), queued as (
  insert into tasks (id, cluster_id, verb, subject, secret_sealed, expires_at, enrollment_id, created_at)
  select task_id, cluster_id, 'token-create', join_token_id, decode(task_sealed, 'base64'), to_timestamp(join_expires_at),
    enrollment_id, time
  from moved where task_id is not null returning 1
), told as (
  insert into events (device_id, enrollment_id, at, source, name, result, detail)
  select i.device_id, i.enrollment_id, i.time, 'server', x.name, 'ok', x.detail
  from moved i cross join lateral json_to_recordset(i.events) as x(name text, detail json) returning 1
), audited as (
  insert into audit (at, actor, action, target, detail)
  select time, 'device:' || serial, 'enroll', 'device:' || serial, events->0->'detail' from moved returning 1
)`

const answer = `
select n from moved`

// What emptyCluster (store/empty-cluster.ts) does. A cluster that starts over is rare; its parts would otherwise be planned and run with every claim.
const reset = `, reset as (
  update clusters c set state = 'virgin', state_since = i.time, stuck_reason = null, ca_hash = null, ca_hash_from = null,
    ca_hash_confirmed_at = null, initializer_device_id = null, initializer_until = null, pods_not_running = null,
    kubeconfig_sealed = null, kubeconfig_at = null, rancher_given_to = null, version = c.version + 1, updated_at = i.time
  from moved i where i.resets_cluster and c.id = i.cluster_id returning c.id, c.updated_at
), orphaned as (
  update devices d set must_rejoin = true, version = d.version + 1
  from enrollments e join reset on reset.id = e.cluster_id
  where e.role = 'agent' and e.ended_at is null and d.id = e.device_id returning d.id
), untokened as (
  update enrollments e set join_sealed = null from orphaned where e.device_id = orphaned.id and e.ended_at is null returning 1
), settled as (
  update tasks t set done_at = r.updated_at, result = 'superseded', secret_sealed = null
  from reset r where t.cluster_id = r.id and t.done_at is null returning 1
), unseen as (
  delete from nodes n using reset r where n.cluster_id = r.id returning 1
)`

/** The statement with the parts that these enrollments need. */
const write = (ends: boolean, resets: boolean) =>
  `${moved}${ends ? ended : ''}${enrolled}${ends ? afterEnded : ''}${noted}${resets ? reset : ''}${answer}`

/**
 * The one writing statement: nonce, device, enrollment, join token, timeline and audit, or nothing at all.
 * @returns for each whether it was written; false = the device changed since it was read (a lost race)
 * @throws PostgresError 23505 when a nonce or a sole server's place is taken; then nothing of the whole run is written
 */
export async function writeEnrollments(sql: Sql, enrollments: readonly NewEnrollment[]): Promise<boolean[]> {
  const input = JSON.stringify(
    enrollments.map((e, n) => ({ n, ...e, document_shared: e.document_shared?.hash ?? null })),
  )
  // Whoever inserts a row that another run has inserted waits for its end: in one order nobody waits for each other.
  const named = new Map(enrollments.flatMap(({ document_shared: part }) => (part ? [[part.hash, part] as const] : [])))
  const parts = [...named.values()].sort((a, b) => (a.hash < b.hash ? -1 : 1))
  const shared = JSON.stringify(parts)
  const ends = enrollments.some((e) => e.ends !== null)
  const resets = enrollments.some((e) => e.resets_cluster)
  const rows = await sql.unsafe<{ n: number }[]>(write(ends, resets), [input, shared], { prepare: true })
  const written = enrollments.map(() => false)
  for (const { n } of rows) written[n] = true
  return written
}

/** The statements of an enrolment: the first two for the benchmark, which runs them under pgbench as well, all for the test of their plans. */
export const statements = { select, write: write(false, false), replace: write(true, false) } as const
