import type { Drizzle } from '../store/database.ts'
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
  const redacted = live.documentSealed ? readable(context, live.id, live.documentSealed) : undefined
  await endEnrollment(tx, live.id, { at: date(context.now()), reason, redacted })
}

// A box must be revocable even when what it was given can no longer be read.
function readable(context: Context, id: string, sealed: Uint8Array): string | undefined {
  try {
    return redactor(context)(id, sealed)
  } catch (error) {
    context.log.error({ err: error, enrollment: id }, 'document could not be redacted')
    return undefined
  }
}
