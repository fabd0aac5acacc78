import { ownerRole } from '../k3s/datastore-names.ts'
import type { Observer } from './observer.ts'
import { patience } from './patience.ts'
import { limits, type Outcome } from './read-messages.ts'
import { readersSchema, tamperedState } from './reader-names.ts'
import { tamperedSigns } from './table-guard.ts'

/** What is asked of a cluster's table. `text` names it by the argument, behind FROM ONLY; both are our own words, with nothing of anybody else's in them. */
export type KineQuery = { columns: string; text: (table: string) => string }

/**
 * - `absent`: no server of the cluster has made the table yet
 * - `tampered`: the table is not what K3s makes, so nothing of it was read
 * - `late`: somebody holds the table, or the read took too long
 */
export type KineRead<Row> =
  | { kind: 'rows'; rows: Row[] }
  | { kind: 'absent' }
  | { kind: 'tampered'; what: string }
  | { kind: 'late'; what: string }

/**
 * Reads a managed cluster's `kine` table. What lies in its schema is hostile code, since its servers own it (reference/k3s.md §9): the read goes through the
 * cluster's reader (reader.ts), in a read-only transaction that is always rolled back, with the table held and checked first (table-guard.ts), and
 * nothing stays in the session for the next cluster.
 * @throws what Postgres says when it is away, full, or not set up
 */
export async function readKine<Row>(observer: Observer, clusterId: string, query: KineQuery): Promise<KineRead<Row>> {
  const [read] = await readKines<Row>(observer, [{ clusterId, query }])
  return read as KineRead<Row>
}

/**
 * Reads several clusters, as `readKine` reads each, one after the other, in fewer messages. A table that somebody holds is asked for again, behind the
 * others, until half a second is over since all began: VACUUM holds it for moments.
 * @throws what Postgres says when it is away, full, or not set up
 */
export async function readKines<Row>(
  observer: Observer,
  reads: readonly { clusterId: string; query: KineQuery }[],
): Promise<KineRead<Row>[]> {
  const statements = reads.map(({ clusterId, query }) => guarded(clusterId, query))
  const again = patience(limits.held)
  const outcomes = await observer.runAll(statements)
  const heldOf = (some: readonly number[]) => some.filter((n) => isHeld(outcomes[n]))
  for (let held = heldOf([...outcomes.keys()]); held.length > 0 && (await again()); held = heldOf(held)) {
    const came = await observer.runAll(held.map((n) => statements[n] as string))
    for (const [i, n] of held.entries()) outcomes[n] = came[i] as Outcome
  }
  return outcomes.map((outcome) =>
    'error' in outcome ? refusal(outcome.error) : { kind: 'rows', rows: outcome.rows as Row[] },
  )
}

const isHeld = (outcome: Outcome | undefined) => outcome !== undefined && 'error' in outcome && saysHeld(outcome.error)

/** Whether a guarded query was refused because somebody holds the table. */
export const saysHeld = (error: unknown): boolean => (error as { code?: unknown } | undefined)?.code === '55P03'

/** The guarded query alone, for who brings a read-only transaction, and limits, of its own. */
export function guarded(clusterId: string, { columns, text }: KineQuery): string {
  const owner = ownerRole(clusterId)
  return `select * from ${readersSchema}.${owner}(${quoted(text(`${owner}.kine`))}) as t(${columns})`
}

/** What an error of a guarded query says of the cluster. @throws the error itself, if it says nothing of it */
export function refusal(error: unknown): { kind: 'absent' } | { kind: 'tampered' | 'late'; what: string } {
  const { code, message = '', severity } = (error ?? {}) as { code?: string; message?: string; severity?: string }
  switch (code) {
    case '42P01':
      return { kind: 'absent' }
    case tamperedState:
      return { kind: 'tampered', what: ofTheGuard(message) }
    case '42809':
      return { kind: 'tampered', what: 'kine is no table' }
    case '42501':
      return { kind: 'tampered', what: 'kine may not be read any more' }
    case '3F000':
      return { kind: 'tampered', what: 'its schema is gone' }
    case '55P03':
      return { kind: 'late', what: 'somebody holds the table locked' }
    case '57014':
      return { kind: 'late', what: 'a read took too long' }
    case 'OBSERVER_STUCK':
      return { kind: 'tampered', what: 'a read did not end when it was told to' }
    case 'OBSERVER_ENDED':
      return { kind: 'tampered', what: 'a read ended the session that it ran in' }
    case '42883':
      return { kind: 'late', what: 'its reader is missing' }
    default:
      // Postgres ended the session, or nobody answered: that is not about this cluster.
      if (severity !== 'ERROR') throw error
      return { kind: 'late', what: `Postgres refused to read it (${code})` }
  }
}

// Hostile code can raise that state as well, and what it says would stand before an admin.
const ofTheGuard = (message: string) =>
  message.split(', ').every((sign) => tamperedSigns.includes(sign)) ? message : 'it is not what K3s makes'

// Short, so that a look for news is below the 1,024 bytes that postgres.js 3.4.9 sends at once: what ends the read goes along then.
const quoted = (text: string) => `$r$${text}$r$`
