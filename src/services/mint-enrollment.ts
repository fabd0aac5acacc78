import { hash } from 'node:crypto'
import { secretive } from '../documents/redact.ts'
import type { Claim } from '../identity/claim.ts'
import { newId } from '../ids.ts'
import { bootstrapToken, parseBootstrapToken } from '../k3s/tokens.ts'
import type { ClaimRow, NewEnrollment } from '../store/enroll.ts'
import type { ClusterParts, ProfileParts } from './claim-parts.ts'
import type { EnrollAnswer, EnrollDeps } from './enroll.ts'
import type { Proof } from './prove-claim.ts'
import { newTask } from './queue-task.ts'
import { sealDocument } from './sealed-document.ts'

/** Seconds. A device reports for this long after its enrollment. */
const reportLife = 30 * 86_400

export type MintInput = {
  claim: Claim
  row: ClaimRow
  proof: Proof
  role: 'server' | 'agent'
  profile: ProfileParts
  cluster: ClusterParts
  /** The cluster's datastore was on this machine alone, and begins anew with it. */
  resets: boolean
}

/** Makes a new enrollment's secrets and renders its document; nothing is written yet. */
export function mintEnrollment(
  deps: EnrollDeps,
  input: MintInput,
): { enrollment: NewEnrollment; answer: EnrollAnswer } {
  const { claim, row, proof, role, profile, cluster } = input
  const now = deps.now()
  const id = newId('enr', now, deps.random(12))
  const secrets = mintSecrets(deps, role, cluster)
  const { input: documentInput, rendered } = deps.compose({
    device: {
      id: row.device_id,
      serial: row.serial,
      hostname: row.hostname as string,
      labels: row.labels,
      vars: row.vars,
      note: row.note,
    },
    role,
    profile,
    cluster,
    enrollment: { id, ...secrets },
  })
  const answer = {
    body: rendered.bytes,
    contentType: rendered.contentType,
    enrollment: id,
    digest: sha256(rendered.bytes),
  }
  const joinExpiresAt = now + profile.spec.join_ttl
  const kept = sealDocument(deps.vault, id, secretive(documentInput), rendered)
  const enrollment: NewEnrollment = {
    device_id: row.device_id,
    device_version: row.device_version,
    enrollment_id: id,
    cluster_id: cluster.id,
    profile_id: profile.id,
    profile_revision: profile.revision,
    role,
    hostname: row.hostname as string,
    assurance: proof.assurance,
    thumbprint: proof.thumbprint,
    claim_hash: claim.hash.toString('hex'),
    nonce: claim.payload.eat_nonce,
    at: now,
    document_type: answer.contentType,
    document_digest: answer.digest,
    document_sealed: base64(kept.sealed),
    document_shared: kept.shared,
    join_hash: sha256(secrets.join),
    join_sealed: role === 'agent' ? base64(deps.vault.seal(joinPlace(id), secrets.join)) : null,
    ...publication(deps, id, cluster.id, secrets.join, joinExpiresAt),
    join_expires_at: joinExpiresAt,
    report_hash: sha256(secrets.report),
    report_expires_at: now + reportLife,
    node_hash: secrets.node ? sha256(secrets.node) : null,
    sole_server_of: role === 'server' && cluster.datastore.kind === 'sqlite' ? cluster.id : null,
    resets_cluster: input.resets,
    ends: row.enrollment_id,
    events: timeline(input, joinExpiresAt),
  }
  return { enrollment, answer }
}

/** Tokens of a new enrollment. A server's join token is a ticket for /v1/join; an agent's is the K3s token itself. */
function mintSecrets({ random }: EnrollDeps, role: 'server' | 'agent', cluster: ClusterParts) {
  const secret = (bytes: number) => Buffer.from(random(bytes)).toString('base64url')
  const report = secret(24)
  if (role === 'server') return { join: secret(32), report, node: secret(32) }
  return { join: bootstrapToken(cluster.caHash as string, random).text, report, node: '' }
}

/** Where an agent's K3s token is sealed. */
export const joinPlace = (enrollmentId: string): string => `enrollments/${enrollmentId}/join`

/** An agent's token works once its cluster knows it: the task that publishes it is written with the enrollment. */
function publication(deps: EnrollDeps, enrollmentId: string, clusterId: string, join: string, expiresAt: number) {
  const token = parseBootstrapToken(join)
  if (!token) return { join_token_id: null, task_id: null, task_sealed: null }
  const { id: subject, secret } = token
  const task = newTask(deps, { clusterId, verb: 'token-create', subject, secret, expiresAt, enrollmentId })
  return { join_token_id: subject, task_id: task.id, task_sealed: task.secret_sealed }
}

function timeline({ claim, proof, role, profile, cluster }: MintInput, joinExpiresAt: number): NewEnrollment['events'] {
  const enrolled = {
    cluster: cluster.name,
    role,
    profile: profile.name,
    profile_revision: profile.revision,
    assurance: proof.assurance,
    thumbprint: proof.thumbprint,
    join_expires_at: joinExpiresAt,
    ...(claim.payload.iat === undefined ? {} : { device_clock: claim.payload.iat }),
    ...(claim.payload.bootcount === undefined ? {} : { bootcount: claim.payload.bootcount }),
  }
  return [{ name: 'enrolled', detail: enrolled }]
}

const sha256 = (data: string | Uint8Array) => hash('sha256', data, 'hex')
const base64 = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
