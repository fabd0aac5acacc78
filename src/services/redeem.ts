import { createHash, timingSafeEqual } from 'node:crypto'
import { AppError } from '../errors.ts'
import { checkAudience } from '../identity/addressee.ts'
import { meets } from '../identity/assurance.ts'
import { type JoinProof, parseJoinProof } from '../identity/claim.ts'
import { importKey } from '../identity/import-key.ts'
import { checkNonce } from '../identity/nonce.ts'
import { verifySignature } from '../identity/verify.ts'
import {
  alarmOfSecondKey,
  extendTicket,
  markRedeemed,
  selectPinnedKey,
  selectServerToken,
  selectTicket,
  type TicketRow,
  useProofNonce,
} from '../store/redeem.ts'
import { place } from './cluster-view.ts'
import type { Context } from './context.ts'
import { gatePorts } from './gate-ports.ts'
import { letIn, secondKey } from './pass-gate.ts'

/** What comes with a join ticket: a proof of key, or for weak enrollments the key of a retry. */
export type RedeemRequest = { ticket: string; proof: Uint8Array | undefined; retryKey: string | undefined }

/**
 * `token`: 64 hex digits. `start`, embedded etcd only: whether this server makes the cluster or joins it. `caHash`, where the datastore is not on the
 * servers: the cluster's CA once it is known, for a server that must forget the one that it made in a turn that it lost.
 */
export type RedeemAnswer = { token: string; start: 'init' | 'join' | undefined; caHash: string | undefined }

/**
 * Gives a server its cluster's token for its join ticket and a proof of the key that claimed, when it is its turn to start K3s; on a managed
 * datastore its login is made first. The same server may ask again until it joined.
 * @throws AppError `token_invalid` for an unknown, ended or used-up ticket, `bad_signature` for a proof that is missing or
 *   wrong, `claim_replayed`, `already_redeemed`, `cluster_not_ready` while it is not its turn, `datastore_unavailable` while its login
 *   cannot be made; with all but the first the ticket stays good, and a wait lengthens its life
 */
export async function redeem(context: Context, request: RedeemRequest): Promise<RedeemAnswer> {
  const ticket = await selectTicket(context.sql, sha256(request.ticket), context.now())
  if (ticket?.role !== 'server' || ticket.expired || ticket.joined) throw new AppError('token_invalid')
  const by = meets(ticket.assurance, 'key') ? await proveKey(context, ticket, request) : retryKey(request)
  try {
    if (ticket.redeemed_by !== null && ticket.redeemed_by !== by) throw secondKey()
    return await enter(context, ticket, by)
  } catch (error) {
    if (error instanceof AppError) await afterRefusal(context, ticket, error)
    throw error
  }
}

async function afterRefusal({ sql, now, log }: Context, ticket: TicketRow, { code, status }: AppError): Promise<void> {
  if (status === 503) await extendTicket(sql, ticket.enrollment_id, now() + ticket.join_ttl)
  if (code !== 'already_redeemed') return
  log.error({ enrollment: ticket.enrollment_id }, 'alarm: another retry key for a ticket that was redeemed')
  await alarmOfSecondKey(sql, ticket, now())
}

async function enter(context: Context, ticket: TicketRow, by: string): Promise<RedeemAnswer> {
  const { sql, vault, now } = context
  const asker = { clusterId: ticket.cluster_id, deviceId: ticket.device_id, enrollmentId: ticket.enrollment_id }
  const { cluster, hostname, datastore } = ticket
  const open = (sealed: Uint8Array) => vault.open(place.serverToken(asker.clusterId), sealed).toString()
  const serverToken = async () => open(await selectServerToken(sql, asker.clusterId))
  let token = ''
  let known: string | undefined
  const mark = async () => {
    const row = await markRedeemed(sql, { ...asker, by, now: now(), ttl: ticket.join_ttl })
    if (row?.outcome === 'marked') {
      token = open(row.server_token_sealed)
      known = row.ca_hash ?? undefined
    }
    return row?.outcome ?? 'ended'
  }
  const ports = gatePorts(context, { ...asker, cluster, hostname, datastore, serverToken })
  const start = await letIn({ ...ports, mark }, asker.deviceId)
  if (datastore === 'embedded-etcd') return { token, start, caHash: undefined }
  return { token, start: undefined, caHash: datastore === 'sqlite' || start === 'init' ? undefined : known }
}

type RedeemDeps = Pick<Context, 'sql' | 'keys' | 'settings' | 'now'>

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
