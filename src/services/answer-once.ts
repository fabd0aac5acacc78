import { AppError } from '../errors.ts'
import { type AnswerKey, findAnswer, keepAnswer, lockAnswerKey } from '../store/idempotency.ts'
import { date } from '../store/time.ts'
import type { Context } from './context.ts'

/** Seconds for which an answer is kept. PROTOCOL.md, "Admin API". */
const keep = 86_400

/** An answer as it went out; `body` null = it showed a secret, and is not kept. */
export type Answer = { status: number; body: string | null; headers: Record<string, string> }

export type Attempt = {
  /** SHA-256 of what was asked, once it was read to its end. */
  hash: () => Uint8Array | undefined
  /** The same, reading what is left. */
  wholeHash: () => Promise<Uint8Array>
  /** Does it, with a context whose `db` is the transaction. `refused`: undo it; no `answer`: it is not to be kept. */
  run: (inner: Context) => Promise<{ refused?: Error; answer?: Answer }>
}

/**
 * Does something in one transaction with the note of its answer: either both are there or neither, so a server that dies in
 * between leaves nothing that could block or be done twice. The lock on the key ends with the transaction.
 * @returns the kept answer if it was done before, else nothing
 * @throws AppError `busy` while the first one runs, `idempotency_mismatch` for another request under the same key,
 * `already_exists` if the kept answer cannot be shown again
 */
export function answerOnce(context: Context, where: AnswerKey, attempt: Attempt): Promise<Answer | undefined> {
  return context.db.transaction(async (tx) => {
    if (!(await lockAnswerKey(tx, where))) throw new AppError('busy', { detail: 'the first request still runs' })
    const staleBefore = date(context.now() - keep)
    const kept = await findAnswer(tx, where)
    if (kept && kept.createdAt > staleBefore) {
      if (!Buffer.from(kept.bodyHash).equals(await attempt.wholeHash())) throw new AppError('idempotency_mismatch')
      return { status: kept.status ?? 200, body: kept.response, headers: kept.headers ?? {} }
    }
    const answer = await runInside({ ...context, db: tx }, attempt)
    const bodyHash = attempt.hash()
    if (!answer || !bodyHash) return undefined
    const { status, body: response, headers } = answer
    const row = { ...where, bodyHash, status, response, headers, createdAt: date(context.now()) }
    await keepAnswer(tx, row, staleBefore)
    return undefined
  })
}

class Undone extends Error {}

/** What a refused attempt did is undone; that it was refused is an answer like any other. */
async function runInside(context: Context, attempt: Attempt): Promise<Answer | undefined> {
  let answer: Answer | undefined
  try {
    await context.db.transaction(async (inner) => {
      const outcome = await attempt.run({ ...context, db: inner })
      answer = outcome.answer
      if (outcome.refused) throw new Undone()
    })
  } catch (error) {
    if (!(error instanceof Undone)) throw error
  }
  return answer
}
