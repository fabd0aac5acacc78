import { forget, type Keep } from '../store/forget.ts'
import type { Context } from './context.ts'

/** Seconds until the roll is walked again where nothing was left to delete: events grow old by the day. */
const rest = 3_600

/** Walks the roll, a few devices a call, and deletes history that an admin no longer keeps. Each call returns how many rows it deleted. */
export function forgetHistory({ sql, now }: Pick<Context, 'sql' | 'now'>, keep: Keep): () => Promise<number> {
  let [after, next] = ['', 0]
  return async () => {
    if (now() < next) return 0
    const pass = await forget(sql, now(), keep, after)
    after = pass.after
    if (after === '' && pass.rows === 0) next = now() + rest
    return pass.rows
  }
}
