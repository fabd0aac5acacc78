import type { Assurance } from '../documents/profile.ts'
import { AppError } from '../errors.ts'
import type { Claim } from '../identity/claim.ts'
import { dummyVerify } from '../identity/dummy-verify.ts'
import { importKey } from '../identity/import-key.ts'
import type { PublicJwk } from '../identity/jwk.ts'
import { type SignatureCheck, verifySignature } from '../identity/verify.ts'
import type { ClaimRow } from '../store/enroll.ts'

/** How a claim proved itself. */
export type Proof = { assurance: Assurance; thumbprint: string }

export type ProveDeps = {
  /** Whether the key pinned for a device made a signature; many at a time (verify-thread.ts) */
  verify: (check: SignatureCheck) => Promise<boolean>
  /** Told of a verified key that is not the device's own: the only forgery that may raise an alarm. */
  strangerKey: (deviceId: string, thumbprint: string) => void
  /** Counts a `kid` that is not pinned for its serial. */
  unknownKey: () => void
}

type Verdict = { thumbprint: string } | 'unknown' | 'forged'

/**
 * Key lookup, signature, certificate or TPM, in PROTOCOL.md's order.
 * Whatever the reason, an unknown serial costs one verification like a known one, so that the time tells nothing.
 * @throws AppError `device_unknown`, `bad_signature`, `x5c_untrusted`, `tpm_unsupported`
 */
export async function proveClaim(claim: Claim, row: ClaimRow | undefined, deps: ProveDeps): Promise<Proof> {
  const verdict = await lookUp(claim, row, deps)
  if (verdict === 'forged') throw new AppError('bad_signature')
  // Said of unknown serials as well, or it would tell which serials exist.
  if (claim.payload.tpm !== undefined) throw new AppError('tpm_unsupported')
  if (verdict === 'unknown') throw new AppError('device_unknown')
  return { assurance: 'key', thumbprint: verdict.thumbprint }
}

async function lookUp(claim: Claim, row: ClaimRow | undefined, deps: ProveDeps): Promise<Verdict> {
  const source = claim.keySource
  if (source.kind === 'x5c') throw new AppError('x5c_untrusted')
  if (source.kind === 'jwk') return proveByJwk(claim, source, row, deps)
  if (row?.jwk && row.thumbprint === source.thumbprint) return proveByKey(claim, row.jwk, source.thumbprint, deps)
  await dummyVerify(claim.header.alg, claim.signingInput)
  deps.unknownKey()
  return 'unknown'
}

async function proveByKey(claim: Claim, jwk: PublicJwk, thumbprint: string, { verify }: ProveDeps): Promise<Verdict> {
  const { header, signingInput, signature } = claim
  return (await verify({ alg: header.alg, jwk, signingInput, signature })) ? { thumbprint } : 'forged'
}

type JwkSource = { jwk: PublicJwk; thumbprint: string }

async function proveByJwk(claim: Claim, { jwk, thumbprint }: JwkSource, row: ClaimRow | undefined, deps: ProveDeps) {
  if (row?.thumbprint === thumbprint) return proveByKey(claim, jwk, thumbprint, deps)
  const key = importKey(jwk)
  if (!key) await dummyVerify(claim.header.alg, claim.signingInput)
  const verified = key && (await verifySignature(claim.header.alg, key, claim.signingInput, claim.signature))
  if (verified && row) deps.strangerKey(row.device_id, thumbprint)
  return 'unknown'
}
