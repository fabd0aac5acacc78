import { AppError } from '../errors.ts'
import { type Age, checkNonce } from './nonce.ts'

/** What this server accepts as meant for it, now. */
export type Addressee = {
  /** HMAC key of nonces, 32 bytes */
  nonceKey: Uint8Array
  /** Unix seconds */
  now: number
  /** What `aud` may be, to the letter */
  audiences: readonly string[]
}

/**
 * The two checks between form and database, in their order: was this answered to us, and to our question?
 * @returns `stale` if the nonce is only good for a byte-identical retry
 * @throws AppError `nonce_invalid`, `nonce_expired`, then `wrong_audience`; none has a detail
 */
export function checkAddressed(payload: { eat_nonce: string; aud: string }, to: Addressee): Age {
  const age = checkNonce(to.nonceKey, to.now, payload.eat_nonce)
  checkAudience(payload.aud, to.audiences)
  return age
}

/** @throws AppError `wrong_audience` */
export function checkAudience(aud: string, audiences: readonly string[]): void {
  if (!audiences.includes(aud)) throw new AppError('wrong_audience')
}
