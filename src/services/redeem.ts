import { createHash, timingSafeEqual } from 'node:crypto'
import { AppError } from '../errors.ts'
import { checkAudience } from '../identity/addressee.ts'
import { meets } from '../identity/assurance.ts'
import { type JoinProof, parseJoinProof } from '../identity/claim.ts'
import { importKey } from '../identity/key-cache.ts'
import { checkNonce } from '../identity/nonce.ts'
import { verifySignature } from '../identity/verify.ts'
import { redeemTicket, selectPinnedKey, selectTicket, type TicketRow, useProofNonce } from '../store/redeem.ts'
import type { Context } from './context.ts'

export type RedeemDeps = Pick<Context, 'sql' | 'vault' | 'keys' | 'settings' | 'now'>

/** What comes with a join ticket: a proof of key, or for weak enrollments the key of a retry. */
export type RedeemRequest = { ticket: string; proof: Uint8Array | undefined; retryKey: string | undefined }

/** Seconds that the first server keeps its turn without renewing it; K3s' first start takes about 10 s, 30 s after a crash. */
const lease = 900

/** Seconds until a waiting server asks again. */
const turnPoll = 15

/**
 * Gives a server its cluster's token for its join ticket and a proof of the key that claimed.
 * The same server may ask again until it joined; whose turn it is decides the database in one statement.
 * @returns 64 hex digits
 * @throws AppError `token_invalid` for an unknown, ended or used-up ticket, `bad_signature` for a proof that is missing or
 *   wrong (the ticket stays good), `claim_replayed`, `already_redeemed`, `cluster_not_ready` while it is not its turn
 */
export async function redeem(deps: RedeemDeps, request: RedeemRequest): Promise<string> {
  const now = deps.now()
  const ticket = await selectTicket(deps.sql, sha256(request.ticket), now)
  if (ticket?.role !== 'server' || ticket.expired || ticket.joined) throw new AppError('token_invalid')
  const by = meets(ticket.assurance, 'key') ? await proveKey(deps, ticket, request) : retryKey(request)
  const input = { enrollmentId: ticket.enrollment_id, deviceId: ticket.device_id, clusterId: ticket.cluster_id }
  const row = await redeemTicket(deps.sql, { ...input, by, now, ttl: ticket.join_ttl, lease })
  if (!row) throw new AppError('token_invalid')
  if (row.taken) throw new AppError('already_redeemed', { detail: 'another retry key redeemed this ticket' })
  if (!row.turn) throw new AppError('cluster_not_ready', { detail: waiting(row.cluster_state), retryAfter: turnPoll })
  return deps.vault.open(`clusters/${ticket.cluster_id}/server_token`, row.server_token_sealed).toString()
}

function waiting(state: string): string {
  if (state === 'compromised') return 'the cluster is marked compromised; no server is let in until it is rotated'
  return "another server goes first; this one waits until the cluster's CA hash is known"
}

async function proveKey(
  deps: RedeemDeps,
  ticket: TicketRow,
  { ticket: secret, proof }: RedeemRequest,
): Promise<string> {
  if (!proof) throw new AppError('bad_signature')
  const jws = parseJoinProof(proof)
  const age = checkNonce(deps.keys.nonce, deps.now(), jws.payload.eat_nonce)
  checkAudience(jws.payload.aud, deps.settings.audiences)
  if (!(await isSignedBy(deps, jws, ticket))) throw new AppError('bad_signature')
  if (jws.payload.sub.toLowerCase() !== ticket.serial.toLowerCase())
    throw new AppError('bad_signature', { detail: 'sub is not the serial that the ticket was given to' })
  if (!sameText(jws.payload.ath, sha256(secret).toString('base64url')))
    throw new AppError('bad_signature', { detail: 'ath is not the hash of this join token' })
  const used = await useProofNonce(deps.sql, jws.payload.eat_nonce, jws.hash, deps.now(), age === 'stale')
  if (!used) throw new AppError(age === 'stale' ? 'nonce_expired' : 'claim_replayed')
  return 'proof'
}

async function isSignedBy(deps: RedeemDeps, jws: JoinProof, ticket: TicketRow): Promise<boolean> {
  const source = jws.keySource
  if (source.kind === 'x5c' || source.thumbprint !== ticket.thumbprint) return false
  const jwk = source.kind === 'jwk' ? source.jwk : await selectPinnedKey(deps.sql, ticket.device_id, source.thumbprint)
  const key = jwk && importKey(jwk)
  return key !== undefined && verifySignature(jws.header.alg, key, jws.signingInput, jws.signature)
}

function retryKey({ retryKey }: RedeemRequest): string {
  if (!retryKey || !/^[0-9a-f]{32}$/i.test(retryKey))
    throw new AppError('request_invalid', { detail: 'Rollcall-Retry-Key must be 32 hex digits' })
  return sha256(retryKey.toLowerCase()).toString('hex')
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}
