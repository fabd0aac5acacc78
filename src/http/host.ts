import { AppError } from '../errors.ts'
import { linesOf } from './raw-headers.ts'
import type { Shortcut } from './shortcut.ts'

// RFC 3986 §3.2.2 and §3.2.3, without escapes, which no name of a host needs.
const form = /^(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::\d{0,5})?$/i
const longest = 300

// RFC 9112 §3.2.1 and §3.2.2. A backslash is a slash to some readers of URLs and none to others.
const path = /^\/[^\\?]*(?:\?|$)/
const absolute = /^https?:\/\/[^\\?]*(?:\?|$)/

/**
 * Refuses requests whose Host is missing, no host, or not the only one, as RFC 9112 §3.2 has it, and those whose target is no path: 400 on every way
 * that may come after. No answer names a Host (PROTOCOL.md, "Listeners"), but the framework makes a URL of it, fails on names that only look like
 * one (`1.2.3.999`, before Node 24 `xn--a`), and refuses HTTP/1.0's leave to send none, with which load balancers ask for health. So whatever is not plain is put
 * aside before that.
 */
export function hostCheck(): Shortcut {
  // Nearly all requests name the same one.
  let last: string | undefined
  return (incoming, _outgoing, pass) => {
    if (!isTarget(incoming.url ?? '')) {
      incoming.url = '/'
      incoming.headers.host = 'localhost'
      pass(new AppError('request_invalid', { detail: 'ask for a path' }))
      return true
    }
    const hosts = linesOf(incoming.rawHeaders, 'host')
    if (hosts.length === 1 && hosts[0] === last) return false
    if (hosts.length === 1 && isHost(hosts[0] as string)) {
      if (isPlain(hosts[0] as string)) last = hosts[0] as string
      else incoming.headers.host = 'localhost'
      return false
    }
    incoming.headers.host = 'localhost'
    if (hosts.length === 0 && incoming.httpVersion === '1.0') return false
    pass(new AppError('request_invalid', { detail: 'give one Host header, with a name or an address' }))
    return true
  }
}

const isTarget = (url: string) => path.test(url) || (absolute.test(url) && URL.canParse(url))

const isHost = (host: string) => host.length <= longest && form.test(host) && URL.canParse(`https://${host}/`)

/** One that stays as it is in a URL, whatever reads it. */
const isPlain = (host: string) => new URL(`https://${host}/`).host === host
