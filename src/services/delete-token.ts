import { AppError } from '../errors.ts'
import { endToken, findToken } from '../store/admin-tokens.ts'
import { recordAudit } from '../store/audit.ts'
import { date } from '../store/time.ts'
import type { Actor, Precondition } from './actor.ts'
import { toAdminToken } from './admin-token.ts'
import type { Context } from './context.ts'

/** Ends an admin token. @throws AppError `not_found`, `precondition_failed` */
export function deleteToken(
  context: Pick<Context, 'db' | 'now'>,
  actor: Actor,
  idOrName: string,
  precondition: Precondition,
): Promise<void> {
  const now = context.now()
  return context.db.transaction(async (tx) => {
    const row = await findToken(tx, idOrName)
    if (!row) throw new AppError('not_found')
    precondition(toAdminToken(row))
    if (!(await endToken(tx, row.id, date(now)))) throw new AppError('not_found')
    await recordAudit(tx, now, actor, 'token.delete', `token:${row.name}`, { id: row.id })
  })
}
