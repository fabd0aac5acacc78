import { isHostname } from './api-endpoint.ts'
import { clustersDatabase } from './datastore-names.ts'
import { encodePart } from './endpoint-postgres.ts'

/** One server of the clusters' PostgreSQL. `host` is bare: an IPv6 address without brackets. */
export type DatastoreHost = { host: string; port: number }

const form = /^(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:[\]]+)(?::(\d{1,5}))?$/

/**
 * Reads `host[:port]`, several with commas.
 * @returns the hosts, or in words what is wrong with it
 */
export function parseDatastoreAddress(text: string): DatastoreHost[] | string {
  const parts = text.split(',').map((part) => part.trim())
  const hosts = parts.map(parseHost)
  const wrong = hosts.find((host) => typeof host === 'string')
  if (wrong !== undefined) return wrong as string
  // K3s' URL parser (Go net/url) takes several hosts for postgres:// alone, and brackets only where one host is all.
  if (hosts.length > 1 && text.includes('[')) return 'has an IPv6 address among several hosts: give them names'
  return hosts as DatastoreHost[]
}

function parseHost(text: string): DatastoreHost | string {
  const found = form.exec(text)
  if (!found) return `must be host:port, several with commas`
  const host = (found[1] as string).toLowerCase()
  const bare = host.replace(/^\[|\]$/g, '')
  if (host === bare ? !isHostname(bare) : !URL.canParse(`https://${host}/`)) return `names no host: ${host}`
  const port = Number(found[2] ?? 5432)
  return port >= 1 && port <= 65_535 ? { host: bare, port } : 'has no port between 1 and 65535'
}

/** A login of one server node. */
export type NodeLogin = { role: string; password: string }

/**
 * K3s' `datastore-endpoint` for one server node of a managed cluster. Every port is named: K3s' URL parser looks at the last colon.
 * @throws Error if `parseDatastoreAddress` would not have taken the address
 */
export function managedEndpoint(address: string, { role, password }: NodeLogin): string {
  const hosts = parseDatastoreAddress(address)
  if (typeof hosts === 'string') throw new Error(`ROLLCALL_DATASTORE_ADDRESS ${hosts}`)
  const places = hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',')
  const attributes = hosts.length > 1 ? '&target_session_attrs=read-write' : ''
  const login = `${encodePart(role)}:${encodePart(password)}`
  return `postgres://${login}@${places}/${clustersDatabase}?sslmode=verify-full${attributes}`
}
