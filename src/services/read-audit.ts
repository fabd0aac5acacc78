import type { Json } from '../documents/profile.ts'
import { listAudit } from '../store/audit.ts'
import { seconds } from '../store/time.ts'
import type { Context } from './context.ts'

export type AuditEntry = {
  at: number
  actor: string
  action: string
  target: string
  request_id: string | null
  detail: Json
}

/** Newest first. `key` is what the next page begins before. */
export async function readAudit(
  { db }: Context,
  filter: { target?: string | undefined; before?: string | undefined; limit: number },
): Promise<{ key: string; entry: AuditEntry }[]> {
  const before = filter.before === undefined ? undefined : Number(filter.before)
  const rows = await listAudit(db, { ...filter, before })
  return rows.map((row) => {
    const { actor, action, target } = row
    const entry = { at: seconds(row.at), actor, action, target, request_id: row.requestId, detail: row.detail as Json }
    return { key: String(row.id), entry }
  })
}
