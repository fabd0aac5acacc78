import { clustersDatabase, nodesGroup } from '../k3s/datastore-names.ts'
import { connectionProblem } from './connection-words.ts'

/** What one host of the address said. `away`: it may be back in a moment; `wrong`: it will not do, whatever the others say. */
export type Answer = { kind: 'primary' | 'standby'; connections: number } | { kind: 'away' | 'wrong'; words: string }

/** An error by its code alone. */
export const failed = (code: string): Error => Object.assign(new Error(code), { code })

const wrong: Record<string, string> = {
  NO_TLS: 'it does not speak TLS: set ssl = on there, with a certificate for this name',
  NO_POSTGRES: 'what answers there is no PostgreSQL',
  NO_SAN:
    'its certificate names it in the common name alone, which K3s does not look at: it needs a subject alternative name',
  POOLER:
    'a pooler (pgbouncer?) stands before it, which K3s does not get on with (K3s issue 14525): name PostgreSQL itself',
  untrusted: 'its certificate is not from the authority in ROLLCALL_DATASTORE_CA',
  '28000': `its pg_hba.conf lets no node in from here: hostssl ${clustersDatabase} +${nodesGroup} <networks of the nodes, and this server> scram-sha-256`,
  '28P01': 'it does not know Rollcall’s login: another PostgreSQL answers there, or a pooler',
  '3D000': `it has no database ${clustersDatabase}: another PostgreSQL answers there`,
  '08P01': 'it does not take a plain login: a pooler (pgbouncer?) stands before it; name PostgreSQL itself',
}
const away: Record<string, string> = {
  '53300': 'all of its connections are taken',
  '57P03': 'it is starting or stopping',
}

/** Why a host cannot be used, in words for an admin. */
export function wordsFor(thrown: unknown): Answer {
  const { code = '', message = '' } = (thrown ?? {}) as { code?: string; message?: string }
  if (/no such (?:user|database)|pgbouncer|client_tls/i.test(message))
    return { kind: 'wrong', words: wrong.POOLER as string }
  if (wrong[code] !== undefined) return { kind: 'wrong', words: wrong[code] }
  if (away[code] !== undefined) return { kind: 'away', words: away[code] }
  const found = connectionProblem(thrown)
  const waits = found !== undefined && ['refused', 'unreachable', 'silent'].includes(found.code)
  if (found) return { kind: waits ? 'away' : 'wrong', words: wrong[found.code] ?? found.text }
  return { kind: 'wrong', words: `a connection to it fails (${code || message || 'no reason given'})` }
}
