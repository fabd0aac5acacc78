/** Who asks: `token:<name>`, `cli`, `server`, `device:<serial>`. Stands in the audit log. */
export type Actor = { name: string; requestId?: string }

/** What an ETag is made of: which thing, and how often it changed. */
export type Versioned = { id: string; version: number }

/**
 * Checks that a thing is still what the asker saw; called inside the transaction, on the locked row.
 * @throws AppError `precondition_failed`
 */
export type Precondition = (current: Versioned) => void

/** For callers that ask for nothing (command line, tests). */
export const unconditional: Precondition = () => {}
