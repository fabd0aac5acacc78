import type { Config } from './config.ts'

/** What may stand in a URL's query for all to read. Whatever else stands there could be, or be a piece of, a secret. */
const harmless = /^(?:sslmode|ssl|sslnegotiation|target_session_attrs|application_name|connect_timeout)=[\w.-]*$/
/** Named all the same, so that an admin sees that it is given. */
const secret = /^(password|pass|sslpassword|sslkey|passfile|options)=/
/** Nothing but base64 between the lines: a block within a block is not taken for one. */
const publicBlocks = /-----BEGIN (CERTIFICATE|PUBLIC KEY)-----[A-Za-z0-9+/=\s]*-----END \1-----/g

/** For people: the configuration without anything that opens something. */
export function redacted(config: Config): unknown {
  const { databaseUrl, tls, tlsCa, tlsNextKey, datastore, audiences, k3s } = config
  return {
    ...config,
    databaseUrl: databaseUrl === undefined ? null : redactedUrl(databaseUrl),
    audiences: audiences.map((audience) => (audience.includes(':') ? redactedUrl(audience) : audience)),
    tls: tls ? { certificate: publicPem(tls.certificate), key: '***' } : null,
    ...(tlsCa === undefined ? {} : { tlsCa: publicPem(tlsCa) }),
    ...(tlsNextKey === undefined ? {} : { tlsNextKey: publicPem(tlsNextKey) }),
    ...(datastore?.ca === undefined ? {} : { datastore: { ...datastore, ca: publicPem(datastore.ca) } }),
    k3s: { ...k3s, scriptUrl: redactedUrl(k3s.scriptUrl), artifactUrl: redactedUrl(k3s.artifactUrl) },
  }
}

/**
 * A URL without login and query. It is read as text, not parsed: postgres.js takes what is no URL by the letter (a password with a bare
 * `@`), and what nobody can connect with is shown too. Where a bare `?` or `#` leaves it open which part is the password, nothing is shown.
 */
export function redactedUrl(text: string): string {
  const [, scheme, slashes, all] = /^([a-z]+:)([/\\]*)(.*)$/is.exec(text) ?? []
  if (scheme === undefined || all === undefined) return '***'
  const end = all.lastIndexOf('@')
  const login = all.slice(0, Math.max(end, 0))
  const rest = all.slice(end + 1)
  const place = /^[^?#]*/.exec(rest)?.[0] ?? ''
  if (/[?#]/.test(login) || !isPlace(place)) return `${scheme}${slashes}***`
  return `${scheme}${slashes}${end < 0 ? '' : `${shownLogin(scheme, login)}@`}${place}${shownQuery(rest.slice(place.length))}`
}

// A database's user says who is asked for; what stands alone before a web server is as likely a token.
function shownLogin(scheme: string, login: string): string {
  const [, user, password] = /^([^:/@\\]*)(:.*)?$/s.exec(login) ?? []
  if (user === undefined || !scheme.startsWith('postgres')) return '***'
  return password === undefined ? user : `${user}:***`
}

function shownQuery(text: string): string {
  const [query = '', ...fragment] = text.split('#')
  const members = query.slice(1).split('&').map(shownMember)
  return `${query === '' ? '' : `?${members.join('&')}`}${fragment.length > 0 ? '#***' : ''}`
}

function shownMember(member: string): string {
  if (harmless.test(member)) return member
  const name = secret.exec(member)?.[1]
  return name === undefined ? '***' : `${name}=***`
}

// `user:password` whose host was forgotten has no port that is a number.
function isPlace(place: string): boolean {
  const hosts = place.split(/[/\\]/)[0] as string
  return hosts.split(',').every((host) => /^(?:\[[\da-f:.%]+\]|[^:]*)(?::\d{0,5})?$/i.test(host))
}

/** The certificates and public keys of a PEM. A private key may stand in the same file; what else it says is hidden too. */
function publicPem(text: string): string {
  const blocks = text.match(publicBlocks) ?? []
  return [...blocks, ...(text.replace(publicBlocks, '').trim() === '' ? [] : ['***'])].join('\n')
}
