import type { Drizzle } from '../store/database.ts'
import { date } from '../store/time.ts'
import { endEnrollment, type LiveEnrollment } from '../store/tombstones.ts'
import type { Context } from './context.ts'

/**
 * A document as an admin may read it: opened, its secrets replaced by placeholders.
 * @throws when the sealed copy cannot be opened
 */
export type Redact = (vault: Context['vault'], enrollmentId: string, sealed: Uint8Array) => string

/** Ends a live enrollment and all its secrets; of its document a redacted copy stays. */
export async function endLiveEnrollment(
  context: Context,
  tx: Drizzle,
  live: LiveEnrollment,
  end: { reason: 'revoked' | 'retired' | 'rekeyed'; redact: Redact },
): Promise<void> {
  const redacted = live.documentSealed ? readable(context, live.id, live.documentSealed, end.redact) : undefined
  await endEnrollment(tx, live.id, { at: date(context.now()), reason: end.reason, redacted })
}

// A box must be revocable even when what it was given can no longer be read.
function readable({ vault, log }: Context, id: string, sealed: Uint8Array, redact: Redact): string | undefined {
  try {
    return redact(vault, id, sealed)
  } catch (error) {
    log.error({ err: error, enrollment: id }, 'document could not be redacted')
    return undefined
  }
}
