import type { Drizzle } from '../store/database.ts'
import type { StoredDocument } from '../store/shared-parts.ts'
import { date } from '../store/time.ts'
import { type EndReason, endEnrollment, type LiveEnrollment } from '../store/tombstones.ts'
import type { Context } from './context.ts'
import { redactor } from './redact-document.ts'

/** Ends a live enrollment and all its secrets; of its document a redacted copy stays. */
export async function endLiveEnrollment(
  context: Context,
  tx: Drizzle,
  live: LiveEnrollment,
  reason: EndReason,
): Promise<void> {
  const redacted = live.document ? readable(context, live.id, live.document) : undefined
  await endEnrollment(tx, live.id, { at: date(context.now()), reason, redacted })
}

// A box must be revocable even when what it was given can no longer be read.
function readable(context: Context, id: string, stored: StoredDocument): string | undefined {
  try {
    return redactor(context)(id, stored)
  } catch (error) {
    context.log.error({ err: error, enrollment: id }, 'document could not be redacted')
    return undefined
  }
}
