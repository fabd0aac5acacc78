import { AppError } from '../errors.ts'
import { type DatastoreHost, parseDatastoreAddress } from '../k3s/datastore-address.ts'
import { connectionLimit } from './logins.ts'
import { tryHost } from './try-address.ts'

export type AddressCheck = {
  address: string
  /** PEM */
  ca: string
  /** Of the probe */
  password: string
  /** Connections that Rollcall itself may hold */
  own: number
  /** All server nodes of managed clusters, the new ones included */
  serverNodes: number
}

/** Connections that nobody counted on. */
const spare = 10

/**
 * Tries what nodes will do, and whether there is room for all of them.
 * @throws AppError `invalid` at `datastore.kind`, with plain words for each thing that is wrong
 */
export async function checkAddress({ address, ca, password, own, serverNodes }: AddressCheck): Promise<void> {
  const hosts = parseDatastoreAddress(address)
  if (typeof hosts === 'string') throw refused([`ROLLCALL_DATASTORE_ADDRESS ${hosts}`])
  const answers = await Promise.all(hosts.map((host) => tryHost(host, ca, password)))
  const primaries = answers.flatMap((answer) => (answer.kind === 'primary' ? [answer.connections] : []))
  const problems = answers.flatMap((answer, i) => {
    if ('connections' in answer) return []
    // A standby that is away is what several hosts are for.
    if (answer.kind === 'away' && primaries.length > 0) return []
    return [`${name(hosts[i] as DatastoreHost)}: ${answer.words}`]
  })
  if (problems.length === 0 && primaries.length === 0) {
    problems.push(`${hosts.map(name).join(', ')}: a read-only standby answers, which takes no writes: name the primary`)
  }
  if (problems.length === 0) problems.push(...budgetProblems(Math.min(...primaries), own, serverNodes))
  if (problems.length > 0) throw refused(problems)
}

/**
 * Whether all server nodes may hold as many connections as their logins allow.
 * @param most that PostgreSQL lets in, without those that it reserves
 */
export function budgetProblems(most: number, own: number, serverNodes: number): string[] {
  const wanted = connectionLimit * serverNodes + own + spare
  if (wanted <= most) return []
  return [
    `PostgreSQL takes ${most} connections, and ${serverNodes} server nodes of managed clusters (${connectionLimit} each), Rollcall (${own}) and a reserve (${spare}) may want ${wanted}: raise max_connections`,
  ]
}

const name = ({ host, port }: DatastoreHost) => `${host.includes(':') ? `[${host}]` : host}:${port}`

const refused = (reasons: readonly string[]) =>
  new AppError('invalid', { errors: reasons.map((reason) => ({ path: 'datastore.kind', reason })) })
