import { Hono } from 'hono'
import { AppError } from '../../errors.ts'
import { sizeLimit } from '../../identity/jws.ts'
import type { EnrollAnswer } from '../../services/enroll.ts'
import { mediaType, readBody } from '../body.ts'

export type ClaimDeps = { enroll: (claim: Uint8Array) => Promise<EnrollAnswer> }

export const claimRoutes = ({ enroll }: ClaimDeps) =>
  new Hono().post('/v1/claim', async (c) => {
    if (mediaType(c) !== 'application/jose') throw new AppError('media_type')
    const answer = await enroll(await readBody(c, sizeLimit.x5c, { code: 'claim_too_large' }))
    return c.body(answer.body as Uint8Array<ArrayBuffer>, 200, {
      'Content-Type': answer.contentType,
      'Cache-Control': 'no-store',
      'Rollcall-Enrollment': answer.enrollment,
      'Rollcall-Digest': `sha256=${answer.digest}`,
    })
  })
