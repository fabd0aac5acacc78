import { type Context, Hono } from 'hono'
import { AppError } from '../../errors.ts'
import { sizeLimit } from '../../identity/jws.ts'
import type { RedeemAnswer, RedeemRequest } from '../../services/redeem.ts'
import { mediaType, readBody } from '../body.ts'

export type JoinDeps = { redeem: (request: RedeemRequest) => Promise<RedeemAnswer> }

// A ticket is 32 random bytes in base64url; nothing else is worth a query.
const bearer = /^Bearer ([A-Za-z0-9_-]{16,512})$/i

export const joinRoutes = ({ redeem }: JoinDeps) =>
  new Hono().post('/v1/join', async (c) => {
    const ticket = bearer.exec(c.req.header('authorization') ?? '')?.[1]
    if (!ticket) throw new AppError('token_invalid')
    const proof = mediaType(c) === 'application/jose' ? await readProof(c) : undefined
    const { token, start, caHash } = await redeem({ ticket, proof, retryKey: c.req.header('rollcall-retry-key') })
    // Embedded etcd: a document cannot know who will go first.
    if (start) c.header('Rollcall-Start', start)
    // A server may hold another CA, from a turn that it lost.
    if (caHash) c.header('Rollcall-CA-Hash', caHash)
    return c.body(token, 200, { 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store' })
  })

async function readProof(c: Context): Promise<Uint8Array | undefined> {
  const proof = await readBody(c, sizeLimit.x5c, { code: 'claim_too_large' })
  return proof.length > 0 ? proof : undefined
}
