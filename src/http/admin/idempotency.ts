import { createHash, type Hash } from 'node:crypto'
import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import { AppError } from '../../errors.ts'
import { type Answer, type Attempt, answerOnce } from '../../services/answer-once.ts'
import type { AdminEnv } from './frame.ts'

const form = /^[\x21-\x7e]{1,255}$/
const keptHeaders = ['content-type', 'etag', 'location']

type Options = {
  /** The answer shows a secret once: it is not kept, a repeat is 409. */
  secretAnswer?: boolean
  /** The body is not buffered: it is hashed while the handler reads it. */
  stream?: boolean
}

/** Runs a request that carries an `Idempotency-Key` at most once, and gives a repeat the first answer. */
export function idempotent(options: Options = {}): MiddlewareHandler<AdminEnv> {
  return async (c, next) => {
    const key = c.req.header('idempotency-key')
    if (key === undefined) return await next()
    if (!form.test(key)) {
      const error = { path: 'header.idempotency-key', reason: '1 to 255 visible ASCII characters' }
      throw new AppError('invalid', { errors: [error] })
    }
    const where = { tokenId: c.var.admin.tokenId, route: `${c.req.method} ${new URL(c.req.url).pathname}`, key }
    const run: Attempt['run'] = async (inner) => {
      c.set('context', inner)
      await next()
      return { ...(c.error ? { refused: c.error } : {}), ...(await toKeep(c.res, options)) }
    }
    const kept = await answerOnce(c.var.context, where, { ...(await hashBody(c, options.stream ?? false)), run })
    if (kept) c.res = replay(kept)
    return
  }
}

/** A failure of ours and 412 are about the moment, not about the request. */
async function toKeep(response: Response, { secretAnswer }: Options): Promise<{ answer?: Answer }> {
  const { status } = response
  if (status >= 500 || status === 412) return {}
  const body = secretAnswer && response.ok ? null : await response.clone().text()
  const headers: Record<string, string> = {}
  for (const name of keptHeaders) {
    const value = response.headers.get(name)
    if (value !== null) headers[name] = value
  }
  return { answer: { status, body, headers } }
}

function replay({ status, body, headers }: Answer): Response {
  if (body === null) {
    throw new AppError('already_exists', { detail: 'this Idempotency-Key was used, and its answer is not shown again' })
  }
  return new Response(status === 204 ? null : body, { status, headers })
}

type BodyHash = Pick<Attempt, 'hash' | 'wholeHash'>

async function hashBody(c: HonoContext<AdminEnv>, stream: boolean): Promise<BodyHash> {
  const sha = createHash('sha256').update(`${new URL(c.req.url).search}\0`)
  if (stream && c.req.raw.body) return hashWhileRead(c, sha)
  const digest = sha.update(new Uint8Array(await c.req.arrayBuffer())).digest()
  return { hash: () => digest, wholeHash: async () => digest }
}

function hashWhileRead(c: HonoContext<AdminEnv>, sha: Hash): BodyHash {
  let digest: Uint8Array | undefined
  const observer = new TransformStream<Uint8Array, Uint8Array>({
    transform: (chunk, controller) => {
      sha.update(chunk)
      controller.enqueue(chunk)
    },
    flush: () => {
      digest = sha.digest()
    },
  })
  const { raw } = c.req
  const body = raw.body?.pipeThrough(observer)
  c.req.raw = new Request(raw.url, { method: raw.method, headers: raw.headers, body, duplex: 'half' } as RequestInit)
  const wholeHash = async () => {
    const early = (cause?: unknown) => new AppError('request_invalid', { detail: 'the body ended too early', cause })
    try {
      for await (const _ of c.req.raw.body ?? []);
    } catch (error) {
      throw early(error)
    }
    if (!digest) throw early()
    return digest
  }
  return { hash: () => digest, wholeHash }
}
