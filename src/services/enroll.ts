import { AppError } from '../errors.ts'
import { checkAudience } from '../identity/addressee.ts'
import { meets } from '../identity/assurance.ts'
import { type Claim, parseClaim } from '../identity/claim.ts'
import { type Age, checkNonce } from '../identity/nonce.ts'
import { admit } from '../roll/admission.ts'
import { type ClaimLookup, type ClaimRow, type NewEnrollment, selectClaims, writeEnrollments } from '../store/enroll.ts'
import { hasServerBeside, wasLastServer } from '../store/last-server.ts'
import { batcher } from './batch.ts'
import { type ClaimParts, type ClusterParts, claimParts } from './claim-parts.ts'
import type { Composer } from './compose-document.ts'
import type { Context } from './context.ts'
import { mintEnrollment } from './mint-enrollment.ts'
import { type Proof, proveClaim } from './prove-claim.ts'
import { wakeCluster } from './queue-task.ts'
import { brokenConstraint, isRowError } from './row-error.ts'
import { openDocument } from './sealed-document.ts'
import { strangerAlarm } from './stranger-alarm.ts'
import { verifier } from './verify-thread.ts'

/** What an accepted claim is answered with; a retry gets the same. */
export type EnrollAnswer = { body: Uint8Array; contentType: string; enrollment: string; digest: string }

export type EnrollDeps = Pick<
  Context,
  'sql' | 'db' | 'vault' | 'keys' | 'settings' | 'now' | 'random' | 'log' | 'wake'
> & {
  compose: Composer
  /** Counts claims by a key that is not pinned for their serial. */
  unknownKey: () => void
}

/** Seconds after its answer in which the byte-identical claim gets the same answer again. */
const retryWindow = 120

/**
 * Claims that share a statement, and such statements at a time. Twice as many go through in step: node waits for Postgres and Postgres for node, and what
 * is made for them no longer fits a core's cache, which costs more than the statements saved (test/bench: a quarter of node's CPU). With half as many
 * Postgres does more.
 */
const together = { max: 32, inFlight: 2 } as const

/**
 * Judges a claim and enrols its device: one select and one writing statement, both shared by claims that arrive together.
 * The checks stand in PROTOCOL.md's order, the first that fails wins, and a refusal leaves nothing behind.
 * @throws AppError with the refusal's code; `detail` only once the signature verified
 */
export function enroller(deps: EnrollDeps): (raw: Uint8Array) => Promise<EnrollAnswer> {
  const parts = claimParts(deps)
  const prove = { verify: verifier(deps.log), strangerKey: strangerAlarm(deps), unknownKey: deps.unknownKey }
  const select = batcher<ClaimLookup, ClaimRow | undefined>({
    ...together,
    run: (claims) => selectClaims(deps.sql, claims),
    isolate: isRowError,
  })
  const write = batcher<NewEnrollment, boolean>({
    ...together,
    run: (enrollments) => writeEnrollments(deps.sql, enrollments),
    isolate: isRowError,
    key: (enrollment) => enrollment.device_id,
  })

  return async (raw) => {
    const claim = parseClaim(raw)
    const age = checkFreshness(deps, claim)
    const row = await select(lookup(claim))
    if (row && isRetry(deps, row)) return retry(deps, row)
    if (age === 'stale') throw new AppError('nonce_expired')
    const proof = await proveClaim(claim, row, prove)
    try {
      return await accept({ deps, parts, write }, claim, row as ClaimRow, proof)
    } catch (error) {
      // A device that sent its claim twice before it was answered: the second one to be written is a retry. What was used before we looked is none.
      const again = isReplay(error) && !row?.nonce_used ? await select(lookup(claim)) : undefined
      if (again && isRetry(deps, again)) return retry(deps, again)
      throw error
    }
  }
}

// A stale nonce serves a retry only, and what was accepted once was addressed to us: its age is the first thing wrong with it.
function checkFreshness({ keys, settings, now }: EnrollDeps, { payload }: Claim): Age {
  const age = checkNonce(keys.nonce, now(), payload.eat_nonce)
  if (age === 'stale' && !settings.audiences.includes(payload.aud)) throw new AppError('nonce_expired')
  checkAudience(payload.aud, settings.audiences)
  return age
}

function lookup({ payload, hash }: Claim): ClaimLookup {
  return { serialKey: payload.sub.toLowerCase(), claimHash: hash.toString('hex'), nonce: payload.eat_nonce }
}

function isRetry({ now }: EnrollDeps, row: ClaimRow): boolean {
  return row.same_claim && !row.applied && row.document_sealed !== null && now() - (row.enrolled_at ?? 0) <= retryWindow
}

function retry({ vault }: EnrollDeps, row: ClaimRow): EnrollAnswer {
  const enrollment = row.enrollment_id as string
  const stored = { sealed: row.document_sealed as Uint8Array, shared: row.document_shared }
  const { body } = openDocument(vault, enrollment, stored)
  return { body, contentType: row.document_type as string, enrollment, digest: row.document_digest as string }
}

type Desk = { deps: EnrollDeps; parts: ClaimParts; write: (enrollment: NewEnrollment) => Promise<boolean> }

async function accept({ deps, parts, write }: Desk, claim: Claim, row: ClaimRow, proof: Proof): Promise<EnrollAnswer> {
  const profile = await parts.profile(row.profile_id, row.revision)
  const role = row.device_role ?? profile.spec.role
  const minimums = [profile.spec.min_assurance, row.min_assurance].filter((minimum) => minimum !== null)
  admit({
    state: row.state,
    trusted: minimums.every((minimum) => meets(proof.assurance, minimum)),
    joined: row.joined,
    reenroll: profile.spec.reenroll,
    reenrollGranted: row.reenroll_granted,
    role,
    hostname: row.hostname,
    cluster:
      row.cluster_state === null
        ? null
        : { state: row.cluster_state, caHash: row.ca_hash, apiEndpoint: row.api_endpoint },
    serverTaken: row.sole_server !== null && row.sole_server !== row.device_id,
  })
  const cluster = await parts.cluster(row.cluster_id as string, row.cluster_version as number)
  // Its placement was refused, unless its profile became a server's since.
  if (role === 'server' && !cluster.takesServers)
    throw new AppError('state_conflict', { detail: 'Rollcall did not make the cluster: it adds no servers to it' })
  if (role === 'server' && cluster.apiEndpoint === null) await checkMeetingPoint(deps, row, cluster)
  if (row.nonce_used) throw replayed()
  const resets = role === 'server' && (await startsOver(deps, row, cluster))
  const { enrollment, answer } = mintEnrollment(deps, { claim, row, proof, role, profile, cluster, resets })
  await commit(write, enrollment)
  if (enrollment.task_id !== null) wakeCluster(deps, cluster.id)
  return answer
}

/** Further servers of an embedded etcd join through the cluster's endpoint; those of other kinds meet in their datastore. */
async function checkMeetingPoint({ sql }: EnrollDeps, row: ClaimRow, { id, datastore }: ClusterParts): Promise<void> {
  if (datastore.kind !== 'embedded-etcd' || !(await hasServerBeside(sql, id, row.device_id))) return
  throw new AppError('state_conflict', {
    detail: 'the cluster has a server, and no api_endpoint for others to join through',
  })
}

/** Whether a server comes back without what its cluster was kept in: the only one on SQLite, the last one of an embedded etcd. */
async function startsOver({ sql }: EnrollDeps, row: ClaimRow, { id, datastore }: ClusterParts): Promise<boolean> {
  if (datastore.kind === 'embedded-etcd') return wasLastServer(sql, id, row.device_id)
  return row.sole_server === row.device_id
}

const isReplay = (error: unknown) => error instanceof AppError && error.code === 'claim_replayed'

const replayed = (cause?: unknown) =>
  new AppError('claim_replayed', { detail: 'the nonce was used already: get another one', cause })

/** The database has the last word on everything that may happen once. */
async function commit(write: Desk['write'], enrollment: NewEnrollment): Promise<void> {
  try {
    if (!(await write(enrollment)))
      throw new AppError('claim_replayed', { detail: 'another claim of this device came first' })
  } catch (error) {
    const constraint = brokenConstraint(error)
    if (constraint === 'redeemed_nonces_pkey') throw replayed(error)
    if (constraint === 'devices_sole_server_of')
      throw new AppError('state_conflict', {
        detail: 'the cluster is on SQLite and has its one server already',
        cause: error,
      })
    // Of two billion ids the cluster has this one already: the next claim draws another.
    if (constraint === 'tasks_live') throw new AppError('busy', { cause: error })
    throw error
  }
}
