import { AppError } from '../errors.ts'

/** Where a cluster's API answers. `host` is bare (an IPv6 address without brackets), as `tls-san` wants it. */
export type ApiEndpoint = { url: string; host: string; port: number }

const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
const name = new RegExp(`^(?=.{1,253}$)${label}(?:\\.${label})*$`)
const form = /^https:\/\/(\[[0-9a-f:.]+\]|[^\s/?#@:[\]]+)(?::(\d{1,5}))?\/?$/i

/** K3s' own default; an agent would take 443 where a URL names no port. */
const defaultPort = 6443

/**
 * Checks `api_endpoint` and says it in one form: https, host in lower case, the port always named.
 * @throws AppError `invalid`
 */
export function apiEndpoint(text: string): ApiEndpoint {
  const found = form.exec(text)
  if (!found) throw refused('must be https://host:port, without user, path or query')
  const host = (found[1] as string).toLowerCase()
  const bare = host.startsWith('[') ? host.slice(1, -1) : host
  if (host.startsWith('[') ? !URL.canParse(`https://${host}/`) : !isHostname(bare))
    throw refused(`names no host: ${host}`)
  const port = found[2] === undefined ? defaultPort : Number(found[2])
  if (port < 1 || port > 65_535) throw refused('has no port between 1 and 65535')
  return { url: `https://${host}:${port}`, host: bare, port }
}

/** Whether a text is a DNS name or an IPv4 address in lower case. */
export function isHostname(text: string): boolean {
  if (!name.test(text)) return false
  // All-digit labels read as an address: only a whole one is.
  if (!/^[0-9.]+$/.test(text)) return true
  const parts = text.split('.')
  return parts.length === 4 && parts.every((part) => Number(part) < 256 && String(Number(part)) === part)
}

const refused = (reason: string) =>
  new AppError('invalid', { detail: `api_endpoint ${reason}`, errors: [{ path: 'api_endpoint', reason }] })
